"""The protocol by which a run reports its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..planning.cell import Cell


@dataclass(frozen=True)
class Todo:
    """What remains to be done for one cell, and why: training, evaluations, and times, which come after all cells."""

    cell: Cell
    train: bool
    evaluations: tuple[str, ...]
    timings: tuple[str, ...]
    why: str
    replay: dict[str, Any] | None = None

    @property
    def in_cell(self) -> bool:
        """Whether there is anything to do in the process of the cell."""
        return self.train or bool(self.evaluations)


class Progress(Protocol):
    """The receiver of progress reports of a run, such as a terminal."""

    def started(self, todo: list[Todo], total: int) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None: ...

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None: ...

    def remaining(self, seconds: float) -> None: ...

    def timing_started(self, visits: int) -> None: ...

    def timing_visit(self, cell: Cell, number: int) -> None: ...

    def timing_finished(self) -> None: ...

    def note(self, text: str) -> None: ...

    def message(self, text: str) -> None: ...


class Silent:
    """A receiver that ignores all reports."""

    def started(self, todo: list[Todo], total: int) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None: ...

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None: ...

    def remaining(self, seconds: float) -> None: ...

    def timing_started(self, visits: int) -> None: ...

    def timing_visit(self, cell: Cell, number: int) -> None: ...

    def timing_finished(self) -> None: ...

    def note(self, text: str) -> None: ...

    def message(self, text: str) -> None: ...
