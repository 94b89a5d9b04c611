"""What the operating system offers to keep processes together, and best effort where it does not (outside Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_MADV_COLLAPSE = 25
_HUGE = 2**21  # bytes of a huge page
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KILL_SECONDS = 10.0  # for processes that were sent KILL to end, which waits for the kernel only


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends, also of those that left the session."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, number: signal.Signals) -> None:
    """Get this signal when the parent ends, or at once if it has ended."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value))


def wake_at_ends() -> int:
    """The end of a pipe that can be read when a child of this process ends, or another signal comes."""
    wake, ours = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ours, False)
    signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return wake


def descendants(pid: int, known: Iterable[psutil.Process] = ()) -> list[psutil.Process]:
    """The processes below a process. None if it has ended. Those `known` from just before need no second look."""
    with contextlib.suppress(psutil.Error):
        if not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
            return psutil.Process(pid).children(recursive=True)  # looks at all processes of the machine
        before = {process.pid: process for process in known}
        found, waiting = [], _children(pid)
        while waiting:
            child = waiting.pop()
            waiting += _children(child)
            with contextlib.suppress(psutil.Error):
                found.append(before.get(child) or psutil.Process(child))
        return found
    return []


def _children(pid: int) -> list[int]:
    """The children of a process, from the list that the kernel has for each of its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _read(file: str) -> bytes:
    """A small file of the kernel. Several times a second, so without the layers of `open`. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 2**16)
    finally:
        os.close(descriptor)


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes, if they still exist."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()  # not if its pid belongs to another process by now


def kill_descendants() -> bool:
    """Kill and reap everything below this process. Whether nothing is left; only the kernel can hold something back."""
    deadline = time.monotonic() + _KILL_SECONDS
    while not _reap():
        kill_all(descendants(os.getpid()))
        if _reap():
            break
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _reap() -> bool:
    """Reap the children that have ended. Whether none is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def resident_bytes(processes: list[psutil.Process]) -> int:
    """The resident memory of processes, in all."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            if sys.platform == "linux":
                total += int(_read(f"/proc/{process.pid}/statm").split()[1]) * _PAGE
            else:
                total += process.memory_info().rss
    return total


def heap_pages() -> list[int]:
    """The addresses of the parts of this process's own memory that could be huge pages."""
    found: list[int] = []
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps:
            where, access, _, _, _, *name = line.split()
            if access == "rw-p" and name in ([], ["[heap]"]):
                start, end = (int(text, 16) for text in where.split("-"))
                found += range(-(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE, _HUGE)
    return found


def collapse(page: int) -> None:
    """Make a huge page of a part of memory, so that a fork copies one entry in place of 512. It may fail, silently."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.madvise(page, _HUGE, _MADV_COLLAPSE)
