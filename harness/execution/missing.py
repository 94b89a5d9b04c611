"""What a run has to do: the cells, evaluations and times that the store does not hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..planning.cell import Cell
from ..store.store import Store
from .progress import Todo


def missing(store: Store, cells: Iterable[Cell], *, rerun: bool = False) -> list[Todo]:
    """What is missing in the store, for each cell that lacks anything. What failed is tried again.

    With `rerun`, everything is.
    """
    stored = _Stored(store)
    return [todo for cell in cells if (todo := _missing(stored, cell, rerun)) is not None]


class _Stored:
    """The records of a store. The names of its folders are listed once, so that absent records cost nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = {kind: set(_names(store.path / kind)) for kind in ("cells", "evaluations")}

    def record(self, kind: str, id: str) -> dict[str, Any] | None:
        return self._store.record(kind, id) if id in self._names[kind] else None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _missing(store: _Stored, cell: Cell, rerun: bool) -> Todo | None:
    everything = tuple(planned.id for planned in cell.evaluated), tuple(planned.id for planned in cell.timed)
    record = store.record("cells", cell.id)
    if record is None:
        return Todo(cell, True, *everything, "new")
    if rerun:
        return Todo(cell, True, *everything, "asked to repeat", record.get("trace"))
    if record["outcome"] not in ("ok", "unsupported"):
        return Todo(cell, True, *everything, f"ended as {record['outcome']} last time")
    evaluations, timings = ({id: store.record("evaluations", id) for id in ids} for ids in everything)
    lacks = tuple(id for id, stored in evaluations.items() if stored is None or stored["outcome"] != "ok")
    untimed = tuple(
        id
        for id, stored in timings.items()
        if stored is None or stored["outcome"] != "ok" or not stored.get("complete")
    )
    if record["outcome"] != "ok" or not (lacks or untimed):
        return None
    what, stored = (
        ("evaluation", [evaluations[id] for id in lacks]) if lacks else ("timing", [timings[id] for id in untimed])
    )
    return Todo(cell, False, lacks, untimed, _why(what, stored), record.get("trace"))


def _why(what: str, stored: list[dict[str, Any] | None]) -> str:
    failed = sorted({record["outcome"] for record in stored if record and record["outcome"] != "ok"})
    if failed:
        return f"{what} ended as {', '.join(failed)} last time"
    return f"{what} was interrupted last time" if any(stored) else f"new {what}s"
