"""How much memory cells may still take on this machine."""

from __future__ import annotations

from pathlib import Path

import psutil

RESERVE = 0.25 * 2**30  # bytes that stay free
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def available_memory(cgroup: Path = _CGROUP) -> float:
    """The bytes that are free on this machine or, if that is less, in the control group of this process."""
    free = float(psutil.virtual_memory().available)
    for limit, used in _LIMITS:  # of version 2 and of version 1; the limit of version 2 may be the word `max`
        try:
            free = min(free, float((cgroup / limit).read_text()) - float((cgroup / used).read_text()))
        except (OSError, ValueError):
            continue
    return max(free, 0.0)


class Admission:
    """Decides whether the memory of this machine has room for one more cell.

    What a running cell is expected to need stays reserved for it, because it may not have taken it yet.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        self._reserved: dict[str, float] = {}

    def admits(self, need: float, free: float) -> bool:
        """Whether a cell that needs `need` bytes may start while `free` bytes are free. One cell always may."""
        if not self._reserved:
            return True
        return sum(self._reserved.values()) + need <= self._total - RESERVE and need / 2 <= free

    def started(self, id: str, need: float) -> None:
        """Reserve the memory of a cell."""
        self._reserved[id] = need

    def ended(self, id: str) -> None:
        """Give it back."""
        self._reserved.pop(id, None)
