"""Writes the state of a run into its directory every second, for `trilemma watch` in another terminal."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..planning.cell import Cell
from ..store.claim import PROGRESS
from ..store.store import Store
from .live import RunState, Tracked
from .progress import Progress, Todo

SECONDS = 1.0
SILENT_SECONDS = 30.0
"""Seconds without a sign of life after which a run is said not to respond."""


class Recording(Tracked):
    """A receiver that passes all reports on to another one, and writes the state of the run while the block runs.

    The file is written without a flush to the disk, because it is worth nothing after a crash. If it cannot be written,
    the run goes on without it.
    """

    def __init__(self, directory: Path, progress: Progress, interrupted: Callable[[], bool]) -> None:
        super().__init__()
        self._file, self._progress, self._interrupted = directory.resolve() / PROGRESS, progress, interrupted
        self._about = {"format": 1, **process_record(os.getpid())}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="trilemma-progress", daemon=True)

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        ended = "interrupted" if self._interrupted() else "finished"
        self.state.ended = ended if kind is None else kind.__name__
        self.state.running, self.state.visiting = [], ""
        self._write()

    def _write_on(self) -> None:
        while True:
            self._write()
            if self._stop.wait(SECONDS):
                return

    def _write(self) -> None:
        with self.lock:
            text = json.dumps({**self._about, "now": time.time(), "state": self.state.record()})
        staging = self._file.with_name(f".{PROGRESS}.{os.getpid()}")
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)
            with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as stream:
                stream.write(text)
            os.replace(staging, self._file)

    # Reports, which are passed on

    def started(self, todo: list[Todo], total: int) -> None:
        super().started(todo, total)
        self._progress.started(todo, total)

    def cell_started(self, cell: Cell) -> None:
        super().cell_started(cell)
        self._progress.cell_started(cell)

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None:
        super().cell_event(cell, event)
        self._progress.cell_event(cell, event)

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        super().cell_finished(cell, outcome)
        self._progress.cell_finished(cell, outcome)

    def remaining(self, seconds: float) -> None:
        super().remaining(seconds)
        self._progress.remaining(seconds)

    def jobs(self, running: int, pending: int) -> None:
        super().jobs(running, pending)
        self._progress.jobs(running, pending)

    def timing_started(self, visits: int) -> None:
        super().timing_started(visits)
        self._progress.timing_started(visits)

    def timing_visit(self, cell: Cell, number: int) -> None:
        super().timing_visit(cell, number)
        self._progress.timing_visit(cell, number)

    def timing_finished(self) -> None:
        super().timing_finished()
        self._progress.timing_finished()

    def note(self, text: str) -> None:
        super().note(text)
        self._progress.note(text)

    def message(self, text: str) -> None:
        super().message(text)
        self._progress.message(text)


class Reporting(Protocol):
    """What reports its progress: a runner."""

    progress: Progress
    interrupted: bool
    store: Store


@contextlib.contextmanager
def recorded(runner: Reporting) -> Iterator[None]:
    """Write what a runner reports in the block into its run directory, besides what else is done with it."""
    progress = runner.progress
    with Recording(runner.store.path, progress, lambda: runner.interrupted) as recording:
        runner.progress = recording
        try:
            yield
        finally:
            runner.progress = progress


class Seen:
    """What was last read of the state of a run, and what is known of its process."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.state = RunState.from_record(record["state"])
        self.now = float(record["now"])
        """The time of the run when it wrote the state."""
        self._process = {key: record[key] for key in ("pid", "place", "process")}

    @property
    def gone(self) -> bool:
        """Whether the process of the run is gone, although the run has not ended. Only known on its machine."""
        here = process_record(os.getpid())["place"] == self._process["place"]
        if self.state.ended or not here:
            return False
        return bool(process_record(self._process["pid"])["process"] != self._process["process"])

    @property
    def problem(self) -> str:
        """Why the run may not be going on, although it has not ended; empty if it goes on."""
        silent = time.time() - self.now
        if self.gone:
            return f"its process (pid {self._process['pid']}) is gone"
        if not self.state.ended and silent > SILENT_SECONDS:
            return f"it has given no sign of life for {silent:.0f} s"
        return ""


def read_progress(directory: Path) -> Seen | None:
    """What a run has written of its state; None if there is nothing, or if it cannot be read."""
    try:
        record = json.loads((directory / PROGRESS).read_text(encoding="utf-8"))
        return Seen(record)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def process_record(pid: int) -> dict[str, Any]:
    """What tells a process from others: its machine and namespace, its number, and when it started."""
    import psutil

    try:
        started: float | None = psutil.Process(pid).create_time()
    except psutil.Error:
        started = None
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return {"pid": pid, "place": f"{platform.node()} {namespace}", "process": started}
