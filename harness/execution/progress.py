"""What a run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..planning.cell import Cell


@dataclass(frozen=True)
class Todo:
    """What is left of one cell, and why."""

    cell: Cell
    train: bool
    evaluations: tuple[str, ...]
    why: str
    replay: dict[str, Any] | None = None


class Progress(Protocol):
    """What a run tells whoever watches it (terminal, notebook, nobody)."""

    def started(self, todo: list[Todo], total: int) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None: ...

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def message(self, text: str) -> None: ...


class Silent:
    """Tells nobody."""

    def started(self, todo: list[Todo], total: int) -> None: ...

    def cell_started(self, cell: Cell) -> None: ...

    def cell_event(self, cell: Cell, event: dict[str, Any]) -> None: ...

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def message(self, text: str) -> None: ...
