"""Peak memory of a computation."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import torch


def _uses_cuda() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def reset_peak_memory() -> None:
    """Start a new measurement of `peak_memory`."""
    if _uses_cuda():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(
        OSError
    ):  # if not Linux or not permitted, `peak_memory` gives the peak since the process started
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak bytes since `reset_peak_memory`, of the CUDA allocator if CUDA is in use, else of the process."""
    if _uses_cuda():
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else usage * 1024
