"""The state of a run while it goes on: what has ended, what is running, and the time that is left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from ..planning.cell import Cell
from .progress import Todo

KEPT = 5
"""Failures and messages that the state holds, the latest last."""


@dataclass
class Running:
    """A cell that is running: its phase, the fraction of it that is done, and when the cell was started."""

    label: str
    phase: str = ""
    fraction: float = 0.0
    message: str = "starting"
    since: float = 0.0


@dataclass
class RunState:
    """The state of a run. Times are seconds since 1970, of the machine of the run."""

    begun: float
    what: str = "cells"
    """What `count` and `done` count."""
    total: int = 0
    """Cells that the run selects."""
    count: int = 0
    """Cells that have something to do."""
    done: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)
    left: float | None = None
    """The seconds that the run will take from `left_at` on; None if they are not known."""
    left_at: float = 0.0
    visits: int = 0
    """Visits of the timing phase; 0 before it begins."""
    visited: int = 0
    visiting: str = ""
    doing: str = ""
    """What was noted last, such as the dataset that is being loaded."""
    about: str = ""
    """What else there is to say of all cells, such as the jobs on a cluster."""
    failures: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    ended: str = ""
    """How the run ended: `finished`, `interrupted`, or the type of an error; empty while it goes on."""

    def remaining(self, now: float) -> float | None:
        """The seconds that are left; None if they are not known."""
        return None if self.left is None else max(0.0, self.left - (now - self.left_at))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> RunState:
        """The state from its record. Raises TypeError for a record of something else."""
        return cls(**{**record, "running": [Running(**row) for row in record["running"]]})

    def record(self) -> dict[str, Any]:
        """The state as JSON values."""
        return asdict(self)


class Tracked:
    """A receiver of progress reports that keeps the state of the run. Reports may come from several threads."""

    def __init__(self) -> None:
        self.state = RunState(time.time())
        self.lock = threading.RLock()  # a signal handler may report while a report is noted
        self._rows: dict[str, Running] = {}

    def started(self, todo: list[Todo], total: int) -> None:
        """Note how many cells there are, and how many of them have something to do."""
        with self.lock:
            self.state.total, self.state.count = total, sum(item.in_cell for item in todo)

    def cell_started(self, cell: Cell) -> None:
        """Note a cell that runs."""
        with self.lock:
            self._rows[cell.id] = row = Running(cell.label, since=time.time())
            self.state.running.append(row)

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None:
        """Note the phase or the progress of a cell."""
        row = self._rows.get(cell.id)
        if row is None:
            return
        with self.lock:
            if "phase" in event:
                row.phase, row.fraction, row.message = event["phase"], 0.0, ""
            elif "progress" in event:
                row.fraction, row.message = event["progress"], event.get("message", "")

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        """Note how a cell ended."""
        ending = outcome["outcome"]
        with self.lock:
            row = self._rows.pop(cell.id, None)
            if row is not None:
                self.state.running = [other for other in self.state.running if other is not row]
            self.state.done += 1
            self.state.outcomes = dict(Counter(self.state.outcomes) + Counter([ending]))
            if ending not in ("ok", "unsupported"):
                text = f"{ending}: {cell.label} ({outcome['phase']}): {outcome['message']}"
                self.state.failures = [*self.state.failures, text][-KEPT:]

    def remaining(self, seconds: float) -> None:
        """Note the time that is left."""
        with self.lock:
            self.state.left, self.state.left_at = seconds, time.time()

    def jobs(self, running: int, pending: int) -> None:
        """Note the jobs on a cluster."""
        self.state.about = f"jobs: {running} running, {pending} pending"

    def timing_started(self, visits: int) -> None:
        """Note that the timing phase begins."""
        with self.lock:
            self.state.visits, self.state.visited = visits, 0

    def timing_visit(self, cell: Cell, number: int) -> None:
        """Note a visit of the timing phase, which begins."""
        with self.lock:
            self.state.visited += bool(self.state.visiting)
            self.state.visiting = f"{cell.label}, round {number}"

    def timing_finished(self) -> None:
        """Note that the timing phase has ended."""
        with self.lock:
            self.state.visited, self.state.visiting, self.state.left = self.state.visits, "", 0.0

    def note(self, text: str) -> None:
        """Note what is of interest for a moment."""
        self.state.doing = text

    def message(self, text: str) -> None:
        """Note a message for the user."""
        with self.lock:
            self.state.messages = [*self.state.messages, text][-KEPT:]
