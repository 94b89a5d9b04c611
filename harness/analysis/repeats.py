"""Cells that were trained more than once: in several run directories, or in one by `trilemma rerun`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..store.machines import is_time
from ..store.merged_records import same_training
from ..store.reruns import reruns
from ..store.store import Store

Kind = Literal["copy", "identical", "different"]

_MEASURED = ("MiB", "J")  # besides times: what each process measures anew


@dataclass(frozen=True)
class Repeat:
    """A cell that two run directories hold, by their numbers in the list that was given.

    `kind` is `copy` for the same record, `identical` for another training with the same weights and results bit for
    bit, and `different` for another training with other ones. Times, memory and energy are not compared. If `run` and
    `other` are the same, `trilemma rerun` has repeated the cell in this directory, at `time`.
    """

    cell: str
    run: int
    other: int
    kind: Kind
    time: str = ""


def repeats(paths: Sequence[str | Path]) -> list[Repeat]:
    """The cells that are in several run directories, for each pair of them, and the cells that were repeated in one.

    Cells without results are left out.

    Raises StoreError if a directory holds no run.
    """
    stores = [Store(path) for path in paths]
    listed = [{cell["id"]: cell for cell in store.run()["cells"]} for store in stores]
    found = []
    for other, cells in enumerate(listed):
        for id, record in reruns(stores[other]).items():
            if id in cells and (stores[other].record("cells", id) or {}).get("outcome") == "ok":
                same: Kind = "identical" if record.get("identical") is True else "different"
                found.append(Repeat(id, other, other, same, str(record.get("time", ""))))
        for run in range(other):
            for id in cells.keys() & listed[run].keys():
                kind = _kind(stores[run], stores[other], listed[run][id], cells[id])
                if kind is not None:
                    found.append(Repeat(id, run, other, kind))
    return found


def _kind(one: Store, two: Store, cell: dict[str, Any], again: dict[str, Any]) -> Kind | None:
    trained, repeated = one.record("cells", cell["id"]), two.record("cells", cell["id"])
    if trained is None or repeated is None or not trained["outcome"] == repeated["outcome"] == "ok":
        return None
    if trained["written"] == repeated["written"]:
        return "copy"
    if not same_training(trained, repeated):
        return "different"
    planned = {entry["id"] for entry in cell["evaluations"]} & {entry["id"] for entry in again["evaluations"]}
    pairs = [(one.record("evaluations", id), two.record("evaluations", id)) for id in sorted(planned)]
    numbers = [(_numbers(first), _numbers(second)) for first, second in pairs if first and second]
    numbers = [pair for pair in numbers if pair[0] or pair[1]]
    if not numbers:
        return None
    return "identical" if all(first == second for first, second in numbers) else "different"


def _numbers(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The numbers of an evaluation that a repetition must give again."""
    keys = ("metric", "likelihood", "value", "ci_low", "ci_high", "floor", "n")
    return [
        tuple(repr(result.get(key)) for key in keys)
        for result in record.get("results", ())
        if result.get("group") != "training" and not is_time(result.get("unit")) and result.get("unit") not in _MEASURED
    ]
