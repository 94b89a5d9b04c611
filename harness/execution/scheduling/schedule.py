"""The order in which cells run: longest first, as many at a time as the executor has slots and memory has room."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from ..processes.supervisor import Ending
from ..progress import Progress, Todo
from .estimates import Estimates
from .executors import Executor
from .memory import Admission, available_memory

WAIT_SECONDS = 0.2  # a short wait keeps the main thread responsive to signals
REPORT_SECONDS = 1.0  # between two reports of the time that is left


@dataclass
class Schedule:
    """Runs what is to be done through an executor.

    `start` starts a cell, `ended` receives how it ended, both in the calling thread. No cell starts any more when
    `stopped` says so; those that run are waited for.
    """

    executor: Executor
    estimates: Estimates
    start: Callable[[Todo], Future[Ending]]
    ended: Callable[[Todo, Ending], None]
    stopped: Callable[[], bool]
    progress: Progress
    after: float = 0.0
    """The seconds that the run is expected to take when the cells have ended."""
    _running: dict[Future[Ending], tuple[Todo, float]] = field(default_factory=dict)
    _reported: float = 0.0

    def run(self, todo: Iterable[Todo]) -> None:
        """Run all, or until it is stopped."""
        self._waiting = list(todo)
        self._sort()
        self._admission = Admission(available_memory() if self.executor.local else float("inf"))
        while self._running or (self._waiting and not self.stopped()):
            while len(self._running) < self.executor.slots and not self.stopped() and self._start_one():
                pass
            if not self._running:
                time.sleep(WAIT_SECONDS)  # there is no place for a cell now
            done = wait(self._running, timeout=WAIT_SECONDS, return_when="FIRST_COMPLETED").done
            for future in done:
                todo_ended, started = self._running.pop(future)
                self._admission.ended(todo_ended.cell.id)
                self._take_note(todo_ended, future.result(), time.monotonic() - started)
            self._report()

    def _sort(self) -> None:
        """Longest first, so that no long cell is left for the end; those of equal length keep their order."""
        self._waiting.sort(key=self.estimates.seconds, reverse=True)

    def _start_one(self) -> bool:
        """Start the first cell that memory has room for. Returns whether there is one."""
        free = available_memory() if self.executor.local else float("inf")
        tried: set[float] = set()
        for index, item in enumerate(self._waiting):
            need = self.estimates.memory(item.cell)
            if need in tried:
                continue
            tried.add(need)
            if self._admission.admits(need, free):
                del self._waiting[index]
                self._admission.started(item.cell.id, need)
                self._running[self.start(item)] = (item, time.monotonic())
                return True
        return False

    def _take_note(self, todo: Todo, ending: Ending, seconds: float) -> None:
        self.ended(todo, ending)
        if todo.train and ending.cause == "exit" and self.estimates.learn(todo.cell, seconds, ending.peak_memory):
            self._sort()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            running = [(item, now - started) for item, started in self._running.values()]
            left = self.estimates.remaining(self._waiting, running, self.executor.slots)
            self.progress.remaining(left + self.after)
