"""The progress of a run on a terminal: a bar for all cells, one for each running cell, and one for timing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..execution.progress import Todo
from ..planning.cell import Cell
from .console import SafeConsole

if TYPE_CHECKING:
    from ..tuning.search import Trial

COLORS = {"ok": "green", "unsupported": "yellow"}  # outcomes that are not failures


class RichProgress:
    """Progress bars on standard error. Away from a terminal it prints failures and messages only."""

    def __init__(self) -> None:
        self.console = SafeConsole(stderr=True, markup=False, emoji=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", style="dim", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._lock = threading.Lock()
        self._total: Any = None
        self._rows: dict[str, Any] = {}
        self._done = 0
        self._count = 0
        self._timing: Any = None
        self._jobs = ""
        self._visits = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def started(self, todo: list[Todo], total: int) -> None:
        self._count = sum(item.in_cell for item in todo)
        kept = total - self._count
        self._total = self._bars.add_task("cells", total=self._count, shown=f"0/{self._count}", message="")
        if kept:
            self.note(f"{kept} of {total} cells are already done")

    def cell_started(self, cell: Cell) -> None:
        with self._lock:
            self._rows[cell.id] = self._bars.add_task(f"  {cell.label}", total=1.0, shown="", message="starting")

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None:
        row = self._rows.get(cell.id)
        if row is None:
            return
        if "note" in event:
            self.note(f"{cell.label}: {event['note']}")
        elif "phase" in event:
            self._bars.update(row, completed=0.0, shown=event["phase"], message="")
        elif "progress" in event:
            self._bars.update(row, completed=event["progress"], message=event.get("message", ""))

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        with self._lock:
            row = self._rows.pop(cell.id, None)
            if row is not None:
                self._bars.remove_task(row)
            self._done += 1
        if self._total is not None:
            self._bars.update(self._total, completed=self._done, shown=f"{self._done}/{self._count}")
        ending = outcome["outcome"]
        if ending not in COLORS:
            self._print((ending, "red"), f" {cell.label} ({outcome['phase']}): {outcome['message']}")
        elif self.console.is_terminal:
            self._print((ending, COLORS[ending]), f" {cell.label} ", (f"{outcome['elapsed']:.1f} s", "dim"))

    def remaining(self, seconds: float) -> None:
        if self._total is not None:
            left = f"about {duration(seconds)} left" if seconds >= 1 else ""
            self._bars.update(self._total, message=", ".join(filter(None, (self._jobs, left))))

    def jobs(self, running: int, pending: int) -> None:
        self._jobs = f"jobs: {running} running, {pending} pending"

    def timing_started(self, visits: int) -> None:
        self._timing = self._bars.add_task("timing", total=visits, shown="", message="")

    def timing_visit(self, cell: Cell, number: int) -> None:
        if self._timing is not None:
            # The bar shows the visits that have ended, so it advances with the second visit.
            self._bars.update(self._timing, completed=self._visits, shown=f"round {number}", message=cell.label)
            self._visits += 1

    def timing_finished(self) -> None:
        if self._timing is not None:
            self._bars.remove_task(self._timing)
            self._timing = None

    def note(self, text: str) -> None:
        if self.console.is_terminal:
            self._print((text, "dim"))

    def message(self, text: str) -> None:
        self._print((text, "yellow"))

    def _print(self, *parts: str | tuple[str, str]) -> None:
        # Text, and not markup: labels and messages may hold brackets.
        self.console.print(Text.assemble(*parts), soft_wrap=True)


class TrialProgress(RichProgress):
    """The progress of a search: a bar for all trials, and one for each training that runs."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self._count = trials
        self._ended = 0

    def started(self, todo: list[Todo], total: int) -> None:
        """A part of the trials starts. The bar counts all of them."""
        if self._trials is None:
            self._trials = self._bars.add_task("trials", total=self._count, shown=f"0/{self._count}", message="")

    _trials: Any = None

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """A trial has ended. `best` is the best one so far."""
        self._ended = max(self._ended, trial.number + 1)
        value = trial.why if trial.value is None else f"{trial.value:.5g}"
        note = "" if best is None or best.value is None else f"best {best.value:.5g} (trial {best.number})"
        if self._trials is not None:
            shown = f"{self._ended}/{self._count}"
            self._bars.update(self._trials, completed=self._ended, shown=shown, message=note)
        self._print((f"trial {trial.number}", "bold"), f" {value}", (f"  {note}", "dim"))

    def note(self, text: str) -> None:
        """Notes of cells are left out: there are many, and trials have lines of their own."""


def duration(seconds: float) -> str:
    """A length of time in the words of a progress bar, such as `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
