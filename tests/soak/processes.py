"""The processes of a run, seen from outside: which is which, and which are left."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

MARK = "TRILEMMA_SOAK"
_JOB = re.compile(r"/(?:tmp/job-(?P<here>[^/]+)|trilemma-(?P<on_dask>[^/]+)-\d+/job)/events\.jsonl")
_ZYGOTE = "trilemma.harness.execution.processes.zygote"


def marked(mark: str) -> list[psutil.Process]:
    """All processes whose environment has this mark: the run and whatever it has started, wherever it is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
    return found


@dataclass(frozen=True)
class Worker:
    """The process of a cell or of a dataset loader. `job` is the id of the cell, or of the data."""

    process: psutil.Process
    job: str


def zygotes(mark: str) -> list[psutil.Process]:
    """The helper processes that cells are forked from."""
    return [process for process in marked(mark) if _is_zygote(process) and not _is_zygote(process.parent())]


def keepers(mark: str) -> list[psutil.Process]:
    """The processes between a helper and the process of a cell."""
    found = []
    for zygote in zygotes(mark):
        with contextlib.suppress(psutil.Error):
            found += zygote.children()
    return found


def workers(mark: str) -> list[Worker]:
    """The processes of cells and loaders that have begun their work."""
    return [worker for process in marked(mark) if (worker := _worker(process)) is not None]


def _worker(process: psutil.Process) -> Worker | None:
    with contextlib.suppress(psutil.Error, OSError):
        for target in _open_files(process.pid):
            if match := _JOB.search(target):
                return Worker(process, match["here"] or match["on_dask"])
    return None


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            yield os.readlink(f"{folder}/{name}")


def _is_zygote(process: psutil.Process | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return process is not None and any(_ZYGOTE in word for word in process.cmdline())
    return False
