"""The executor of cells on the local machine, with several supervised processes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def run_local(tasks: Iterable[Callable[[], T]], jobs: int, finished: Callable[[T], None]) -> None:
    """Run tasks, `jobs` at a time, each in a thread that supervises one process.

    `finished` is called with each result, in the calling thread. The tasks watch for interruption themselves, so this
    function returns soon after the stop event of the supervisor is set.
    """
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="cell") as pool:
        pending: set[Future[T]] = {pool.submit(task) for task in tasks}
        while pending:
            # A short timeout keeps the main thread responsive to signals.
            done, pending = wait(pending, timeout=0.2, return_when="FIRST_COMPLETED")
            for future in done:
                finished(future.result())
