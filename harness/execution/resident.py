"""The memory of a process and of its descendants."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 if it has ended."""
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return _by_psutil(pid)
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
            for thread in os.listdir(f"/proc/{process}/task"):
                waiting += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    return total


def _by_psutil(pid: int) -> int:
    """The same where the kernel does not list the children of a process: psutil looks at all processes for them."""
    try:
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += child.memory_info().rss
        return int(total)
    except psutil.Error:
        return 0
