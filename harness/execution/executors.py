"""Who runs the cells: so far the local machine, several supervised processes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def run_local(tasks: Iterable[Callable[[], T]], jobs: int, finished: Callable[[T], None]) -> None:
    """Run tasks, `jobs` at a time, each in a thread that supervises one process; `finished` is called in this thread.

    The tasks themselves watch for interruption, so this returns soon after the supervisor's stop event is set.
    """
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="cell") as pool:
        pending: set[Future[T]] = {pool.submit(task) for task in tasks}
        while pending:
            # A short timeout keeps the main thread responsive to signals.
            done, pending = wait(pending, timeout=0.2, return_when="FIRST_COMPLETED")
            for future in done:
                finished(future.result())
