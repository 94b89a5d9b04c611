"""The progress of a run on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.live import Live
from rich.text import Text

from ..execution.live import Tracked
from ..execution.progress import Todo
from ..planning.cell import Cell
from .bars import Picture
from .console import SafeConsole

if TYPE_CHECKING:
    from ..tuning.search import Trial

COLORS = {"ok": "green", "unsupported": "yellow"}  # outcomes that are not failures


class RichProgress(Tracked):
    """Live progress on standard error. Away from a terminal it prints failures and messages only."""

    def __init__(self) -> None:
        super().__init__()
        self.console = SafeConsole(stderr=True, markup=False, emoji=False)
        self._live = Live(
            get_renderable=lambda: Picture(self.state) if self.state.count else Text(""),
            console=self.console,
            refresh_per_second=4,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def started(self, todo: list[Todo], total: int) -> None:
        super().started(todo, total)
        if kept := total - self.state.count:
            self.note(f"{kept} of {total} cells are already done")

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None:
        super().cell_event(cell, event)
        if "note" in event:
            self.note(f"{cell.label}: {event['note']}")

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        super().cell_finished(cell, outcome)
        ending = outcome["outcome"]
        if ending not in COLORS:
            self._print((ending, "red"), f" {cell.label} ({outcome['phase']}): {outcome['message']}")
        elif self.console.is_terminal:
            self._print((ending, COLORS[ending]), f" {cell.label} ", (f"{outcome['elapsed']:.1f} s", "dim"))

    def note(self, text: str) -> None:
        if self.console.is_terminal:
            self._print((text, "dim"))

    def message(self, text: str) -> None:
        super().message(text)
        self._print((text, "yellow"))

    def _print(self, *parts: str | tuple[str, str]) -> None:
        # Text, and not markup: labels and messages may hold brackets.
        self.console.print(Text.assemble(*parts), soft_wrap=True)


class TrialProgress(RichProgress):
    """The progress of a search: a line for all trials, and one for each training that runs."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self.state.what, self.state.count = "trials", trials
        self._ended = 0

    def started(self, todo: list[Todo], total: int) -> None:
        """A part of the trials starts. The line counts all of them."""

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        super().cell_finished(cell, outcome)
        self.state.done = self._ended

    def remaining(self, seconds: float) -> None:
        """The time that a part of the trials will take is left out: it is not that of the search."""

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """A trial has ended. `best` is the best one so far."""
        self._ended = self.state.done = max(self._ended, trial.number + 1)
        value = trial.why if trial.value is None else f"{trial.value:.5g}"
        self.state.about = "" if best is None or best.value is None else f"best {best.value:.5g} (trial {best.number})"
        self._print((f"trial {trial.number}", "bold"), f" {value}", (f"  {self.state.about}", "dim"))

    def note(self, text: str) -> None:
        """Notes of cells are left out: there are many, and trials have lines of their own."""
