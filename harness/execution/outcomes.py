"""The outcome of a cell, as a record."""

from __future__ import annotations

from typing import Any

from ..planning.cell import Cell
from ..planning.suite import Limits
from ..store.store import Store
from .supervisor import Ending


def outcome_of(cell: Cell, ending: Ending, store: Store, limits: Limits) -> dict[str, Any]:
    """The outcome of a cell: the first outcome of its training and evaluations that is not `ok`, else `ok`."""
    if ending.cause == "exit" and ending.code == 0:
        records = [store.record("cells", cell.id)]
        if records[0] is not None and records[0]["outcome"] == "ok":
            records += [store.record("evaluations", planned.id) for planned in cell.evaluations]
        worst = next((r for r in records if r is None or r["outcome"] != "ok"), records[0])
        if worst is None:
            message = "the process recorded no result"
            return failure("error", ending.phase, ending.elapsed, message, store.log_tail(cell.id))
        tail = "" if worst["outcome"] in ("ok", "unsupported") else store.log_tail(cell.id)
        return failure(worst["outcome"], worst["phase"], ending.elapsed, worst["message"], tail)
    message = {
        "timeout": f"passed its limit of {limits.seconds:g} s; raise limits.seconds of the suite",
        "out-of-memory": f"passed its limit of {limits.memory_gib:g} GiB; raise limits.memory_gib of the suite",
        "signal": f"its process was ended by signal {ending.code}",
        "zygote": "the process that starts cells ended twice",
        "exit": f"its process exited with code {ending.code}",
    }[ending.cause]
    return failure(name_of(ending), ending.phase, ending.elapsed, message, store.log_tail(cell.id))


def name_of(ending: Ending) -> str:
    """The outcome for the ending of a process that could not record one itself."""
    if ending.cause in ("timeout", "out-of-memory", "interrupted"):
        return ending.cause
    return "error" if ending.cause == "exit" else "killed"


def failure(outcome: str, phase: str, elapsed: float, message: str, log_tail: str = "") -> dict[str, Any]:
    """The record of an outcome."""
    return {"outcome": outcome, "phase": phase, "elapsed": elapsed, "message": message, "log_tail": log_tail}
