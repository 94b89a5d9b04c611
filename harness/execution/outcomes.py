"""How a cell ended, in the words of its record."""

from __future__ import annotations

from typing import Any

from ..planning.cell import Cell
from ..planning.suite import Limits
from ..store.store import Store
from .supervisor import Ending


def outcome_of(cell: Cell, ending: Ending, store: Store, limits: Limits) -> dict[str, Any]:
    """How a cell ended, over its training and its evaluations: the first that did not end well tells."""
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
        "timeout": f"passed its limit of {limits.seconds:g} s",
        "out-of-memory": f"passed its limit of {limits.memory_gib:g} GiB",
        "signal": f"its process was ended by signal {ending.code}",
        "zygote": "the process that cells are started from ended twice",
        "exit": f"its process exited with code {ending.code}",
    }[ending.cause]
    return failure(name_of(ending), ending.phase, ending.elapsed, message, store.log_tail(cell.id))


def name_of(ending: Ending) -> str:
    """The outcome that the ending of a process stands for, where the process could not record one itself."""
    if ending.cause in ("timeout", "out-of-memory", "interrupted"):
        return ending.cause
    return "error" if ending.cause == "exit" else "killed"


def failure(outcome: str, phase: str, elapsed: float, message: str, log_tail: str = "") -> dict[str, Any]:
    """An ending as a record."""
    return {"outcome": outcome, "phase": phase, "elapsed": elapsed, "message": message, "log_tail": log_tail}
