"""What a run has to do: the cells, evaluations and times that the store does not hold, or holds damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ..planning.cell import Cell
from ..plugins.libraries import is_installed
from ..store.records import Examined
from ..store.store import Store
from .progress import Todo

THREADS = 4
"""Checksums of large files are computed at the same time."""
BLOCK = 500
"""Cells that are handed to these threads at a time."""


def missing(
    store: Store, cells: Iterable[Cell], *, rerun: bool = False, message: Callable[[str], None] = lambda text: None
) -> list[Todo]:
    """What is missing in the store, for each cell that lacks anything. What failed is tried again.

    With `rerun`, everything is. Every file of these cells is checked in full. What is damaged counts as missing, and
    `message` is told of it; if this process holds the store for a run, it is set aside too.
    """
    found = []
    for todo, damaged in _checked(_Stored(store), list(cells), rerun):
        for kind, id, examined in damaged:
            message(_set_aside(store, kind, id, examined))
        if todo is not None:
            found.append(todo)
    return found


def _checked(store: _Stored, cells: list[Cell], rerun: bool) -> Iterator[tuple[Todo | None, _Damaged]]:
    """What is missing and damaged of each cell. A task for each of thousands at once would take much memory."""
    check = partial(_missing, store, rerun=rerun)
    if not store.holds_any:
        yield from map(check, cells)
        return
    with ThreadPoolExecutor(THREADS, thread_name_prefix="check") as pool:
        for start in range(0, len(cells), BLOCK):
            yield from pool.map(check, cells[start : start + BLOCK])


class _Stored:
    """The folders of a store, checked in full. Their names are listed once, so that absent ones cost nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._names = {kind: set(_names(store.path / kind)) for kind in ("cells", "evaluations")}

    @property
    def holds_any(self) -> bool:
        """Whether there is any folder of a cell or an evaluation."""
        return any(self._names.values())

    def examine(self, kind: str, id: str) -> Examined:
        if id not in self._names[kind]:
            return Examined(None, "")
        return self.store.examine(kind, id, full=True)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


_Damaged = list[tuple[str, str, Examined]]


def _missing(store: _Stored, cell: Cell, rerun: bool) -> tuple[Todo | None, _Damaged]:
    """What is missing of one cell, and what of it is damaged."""
    trained = store.examine("cells", cell.id)
    evaluated = {planned.id: store.examine("evaluations", planned.id) for planned in cell.evaluations}
    damaged = [("cells", cell.id, trained)] if trained.problem else []
    damaged += [("evaluations", id, examined) for id, examined in evaluated.items() if examined.problem]
    if trained.record is None and "seconds" in cell.budget:
        # How many steps it took is lost, so it will be another training, to which these results do not belong.
        stale = Examined(None, "its training is lost")
        damaged += [("evaluations", id, stale) for id, examined in evaluated.items() if examined.whole is not None]
    return _todo(store.store, cell, trained, evaluated, rerun), damaged


def _todo(store: Store, cell: Cell, trained: Examined, evaluated: dict[str, Examined], rerun: bool) -> Todo | None:
    evaluations = {planned.id: evaluated[planned.id].whole for planned in cell.evaluated}
    timings = {planned.id: evaluated[planned.id].whole for planned in cell.timed}
    everything = tuple(evaluations), tuple(timings)
    record = trained.record
    if record is None:
        why = f"training: {trained.problem}" if trained.problem else _new(store, cell)
        return Todo(cell, True, *everything, why)
    if rerun:
        return Todo(cell, True, *everything, "asked to repeat", record.get("trace"))
    if library := _installed_now([record]):
        return Todo(cell, True, *everything, f"the library '{library}' is installed now")
    if record["outcome"] not in ("ok", "unsupported"):
        return Todo(cell, True, *everything, f"ended as {record['outcome']} last time")
    lacks = tuple(
        id
        for id, stored in evaluations.items()
        if stored is None or stored["outcome"] != "ok" or _installed_now(stored["not_computed"])
    )
    untimed = tuple(
        id
        for id, stored in timings.items()
        if stored is None or stored["outcome"] != "ok" or not stored.get("complete")
    )
    if trained.problem:  # the same training again gives the same model, so the results that are stored stay
        return Todo(cell, True, lacks, untimed, f"training: {trained.problem}", record.get("trace"))
    if record["outcome"] != "ok" or not (lacks or untimed):
        return None
    what, ids = ("evaluation", lacks) if lacks else ("timing", untimed)
    return Todo(cell, False, lacks, untimed, _why(what, [evaluated[id] for id in ids]), record.get("trace"))


def _installed_now(endings: Iterable[dict[str, Any]]) -> str:
    """A library that was missing when something ended, and is installed now; "" if there is none."""
    return next((ending["needs"] for ending in endings if "needs" in ending and is_installed(ending["needs"])), "")


def _new(store: Store, cell: Cell) -> str:
    """Whether the training of a cell is new, or goes on from the state that an interruption has left."""
    from .resume import partial_file, resumable_step

    if not partial_file(store, cell.id).exists():
        return "new"
    step = resumable_step(store, cell.id, None)
    return "new" if step is None else f"interrupted; goes on at step {step}"


def _why(what: str, stored: list[Examined]) -> str:
    if problems := [examined.problem for examined in stored if examined.problem]:
        return f"{what}: {problems[0]}"
    records = [examined.record for examined in stored]
    failed = sorted({record["outcome"] for record in records if record and record["outcome"] != "ok"})
    if failed:
        return f"{what} ended as {', '.join(failed)} last time"
    return f"{what} was interrupted last time" if any(records) else f"new {what}s"


def _set_aside(store: Store, kind: str, id: str, examined: Examined) -> str:
    """Set damage aside, if the store is held. Returns what to say of it."""
    said = f"{store.path / kind / id}: {examined.problem}"
    if not store.held:
        return f"{said}; a run will compute it again"
    kept = store.set_aside(kind, id, examined)
    return f"{said}; it is computed again" + (f", and what was there is kept in {kept}" if kept else "")
