"""Executors: where the processes of cells run. The local one supervises several at a time on this machine."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ...planning.cell import Cell
from ..processes.supervisor import Ending

T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """The job of one cell, and the receiver of the events that its process reports."""

    cell: Cell
    job: dict[str, Any]
    on_event: Callable[[dict[str, Any]], None]


class Executor(Protocol):
    """A place where cells run, each supervised in a process of its own.

    Whatever happens to a cell or to the place, `submit` gives a future with an `Ending`, and never an exception.
    """

    local: bool
    """Whether cells run on this machine, whose memory they share."""

    failed: str
    """Why it can run no more cells; empty while it can. The endings of cells are then `interrupted`."""

    @property
    def slots(self) -> int:
        """How many cells may run at a time. It may change during a run."""
        ...

    def submit(self, work: Work) -> Future[Ending]:
        """Run the job of a cell."""
        ...

    def close(self) -> None:
        """Give back what the executor holds. Cells that still run are ended."""
        ...


Supervise = Callable[[Work, str | None], Ending]
"""Supervises the job of a cell, on the GPU with this name, if any."""


class LocalExecutor:
    """Runs cells on this machine. Each of its threads supervises one process.

    A slot holds the GPU that a cell may use, or None.
    """

    local = True
    failed = ""

    def __init__(self, supervise: Supervise, jobs: int, gpus: Sequence[str] = ()) -> None:
        self.slots = jobs
        self._supervise = supervise
        self._gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for number in range(jobs):
            self._gpus.put(gpus[number % len(gpus)] if gpus else None)
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="cell")

    def submit(self, work: Work) -> Future[Ending]:
        return self._pool.submit(self._run, work)

    def _run(self, work: Work) -> Ending:
        gpu = self._gpus.get()
        try:
            return self._supervise(work, gpu)
        except OSError as error:  # the disk is full or read-only: the job could not be written, so nothing has run
            return Ending("interrupted", said=str(error))
        finally:
            self._gpus.put(gpu)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def run_local(tasks: Iterable[Callable[[], T]], jobs: int) -> list[T]:
    """Run tasks on this machine, `jobs` at a time, each in a thread. Returns their results in order.

    The tasks watch for interruption themselves, so this function returns soon after the stop event of the supervisor is
    set.
    """
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="data") as pool:
        futures = [pool.submit(task) for task in tasks]
        while wait(futures, timeout=0.2).not_done:
            pass  # a short timeout keeps the main thread responsive to signals
        return [future.result() for future in futures]
