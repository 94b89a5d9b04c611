"""The outcome of a cell, as a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ..planning.cell import Cell
from ..planning.suite import Limits
from ..store.store import Store
from .processes.jobs import LOSSES
from .processes.supervisor import Ending
from .progress import Todo


def outcome_of(cell: Cell, ending: Ending, store: Store, limits: Limits) -> dict[str, Any]:
    """The outcome of a cell: the first outcome of its training and evaluations that is not `ok`, else `ok`."""
    if ending.cause == "exit" and ending.code == 0:
        records = [store.record("cells", cell.id)]
        if records[0] is not None and records[0]["outcome"] == "ok":
            records += [store.record("evaluations", planned.id) for planned in cell.evaluated]
        worst = next((r for r in records if r is None or r["outcome"] != "ok"), records[0])
        if worst is None:
            message = "the process recorded no result"
            return failure("error", ending.phase, ending.elapsed, message, store.log_tail(cell.id))
        tail = "" if worst["outcome"] in ("ok", "unsupported") else store.log_tail(cell.id)
        return failure(worst["outcome"], worst["phase"], ending.elapsed, worst["message"], tail)
    return ended_badly(ending, limits, store.log_tail(cell.id))


def ended_badly(ending: Ending, limits: Limits, log_tail: str) -> dict[str, Any]:
    """The outcome of a process that could not record one itself."""
    message = {
        "timeout": f"passed its limit of {limits.seconds:g} s; raise limits.seconds of the suite",
        "out-of-memory": f"passed its limit of {limits.memory_gib:g} GiB; raise limits.memory_gib of the suite",
        "signal": f"its process was ended by signal {ending.code}",
        "zygote": _lost("the process that starts cells", "while it ran this cell and no other", ending),
        "keeper": _lost("the process that watches over it", "while it ran this cell", ending),
        "unrecorded": f"its process ended without recording {ending.lacks}",
        "worker": _lost_workers(ending),
        "exit": f"its process exited with code {ending.code}",
    }[ending.cause]
    return failure(name_of(ending), ending.phase, ending.elapsed, message, log_tail)


def _lost(process: str, when: str, ending: Ending) -> str:
    if ending.alone:
        return f"{process} ended {LOSSES} times {when}; the cell probably ended it"
    return f"{process} ended again and again; look for what ends processes on this machine, such as a lack of memory"


def _lost_workers(ending: Ending) -> str:
    if ending.said:
        return f"no worker could run it, in {ending.code} attempts; the last said: {ending.said.splitlines()[-1]}"
    return f"the worker that ran it was lost {ending.code} times; the cell may end it, or something else does"


def name_of(ending: Ending) -> str:
    """The outcome for the ending of a process that could not record one itself."""
    if ending.cause in ("timeout", "out-of-memory", "interrupted"):
        return ending.cause
    return "error" if ending.cause in ("exit", "unrecorded") else "killed"


def failure(outcome: str, phase: str, elapsed: float, message: str, log_tail: str = "") -> dict[str, Any]:
    """The record of an outcome."""
    return {"outcome": outcome, "phase": phase, "elapsed": elapsed, "message": message, "log_tail": log_tail}


def record_failure(
    store: Store, todo: Todo, outcome: dict[str, Any], committed: Iterable[dict[str, Any]], environment: dict[str, Any]
) -> None:
    """Store the outcome of a cell whose process could not: for training, or for the unfinished evaluations.

    `committed` are the events of the process. Raises OSError (full disk).
    """
    cell, events = todo.cell, list(committed)
    if todo.train and not any(event.get("committed") == "cell" for event in events):
        store.commit("cells", cell.id, {**outcome, "cell": cell.record(), "environment": environment})
        return
    finished = {event["id"] for event in events if event.get("committed") == "evaluation"}
    for planned in cell.evaluated:
        if planned.id in todo.evaluations and planned.id not in finished:
            sampler = None if planned.sampler is None else asdict(planned.sampler)
            record = {**outcome, "cell": cell.id, "sampler": sampler, "nfe": None}
            store.commit("evaluations", planned.id, {**record, "results": [], "not_computed": []})
