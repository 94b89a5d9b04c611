"""The protocol by which a run reports its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..planning.cell import Cell, cell_job


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

    def job(self, checkpoint_seconds: float) -> dict[str, Any]:
        """The job of the process of the cell, which stores a checkpoint in training every `checkpoint_seconds`."""
        return {
            "kind": "cell",
            **cell_job(self.cell),
            "train": self.train,
            "replay": self.replay,
            "checkpoint_seconds": checkpoint_seconds,
            "evaluations": [planned.record() for planned in self.cell.evaluated if planned.id in self.evaluations],
        }


class Progress(Protocol):
    """The receiver of progress reports of a run, such as a terminal."""

    def started(self, todo: list[Todo], total: int) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None: ...

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None: ...

    def remaining(self, seconds: float) -> None: ...

    def jobs(self, running: int, pending: int) -> None: ...

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

    def jobs(self, running: int, pending: int) -> None: ...

    def timing_started(self, visits: int) -> None: ...

    def timing_visit(self, cell: Cell, number: int) -> None: ...

    def timing_finished(self) -> None: ...

    def note(self, text: str) -> None: ...

    def message(self, text: str) -> None: ...
