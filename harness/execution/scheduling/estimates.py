"""How long cells take and how much memory they need, estimated from cells that have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ...planning.cell import Cell
from ...store.store import Store
from ..progress import Todo

SECONDS_OF_STEPS = 10.0  # of a cell with a budget in steps, before one has ended
SECONDS_OF_EVALUATION = 1.0
MEMORY = 0.75 * 2**30  # bytes of a cell, before one of the same model has ended
MARGIN = 1.2  # of memory, since the next cell may need a little more
STORED = 3  # records that are read for each model on each dataset

Group = tuple[str, ...]

EVALUATION: Group = ("", "", "an evaluation")
"""The group of the seconds of one evaluation, of any model."""


class Estimates:
    """Estimates from the cells that have ended: of the same model on the same dataset, of the model, or of all.

    Of cells of other models, only the time of an evaluation counts under a budget in seconds, because the longest cells
    start first and would be taken for typical ones.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[Group, list[float]] = defaultdict(list)
        self._typical: dict[Group, float] = {}  # medians, which thousands of waiting cells ask for every second
        self._memory: dict[Group, float] = {}

    @classmethod
    def from_store(cls, store: Store, cells: Iterable[Cell]) -> Estimates:
        """Estimates from the records that a store holds of these cells, a few of each model on each dataset."""
        estimates, seen = cls(), defaultdict[Group, int](int)
        for cell in cells:
            group = _groups(cell)[0]
            if seen[group] < STORED:
                seen[group] += 1
                estimates._learn_record(store, cell)
        return estimates

    def _learn_record(self, store: Store, cell: Cell) -> None:
        record = store.record("cells", cell.id)
        if record is None or record["outcome"] != "ok":
            return
        found = [
            evaluation["elapsed"] for each in cell.evaluated if (evaluation := store.record("evaluations", each.id))
        ]
        per_evaluation = sum(found) / len(found) if found else 0.0
        self.learn(cell, record["elapsed"] + per_evaluation * len(cell.evaluated), peak_memory(record))

    def learn(self, cell: Cell, seconds: float, memory: int | None) -> bool:
        """Take note of a cell that has ended. Returns whether it is the first of its model on its dataset."""
        groups = _groups(cell)
        first = groups[0] not in self._seconds
        evaluating = seconds - cell.budget.get("seconds", seconds)
        if evaluating > 0 and cell.evaluated:  # a control may take less than the budget
            self._note(EVALUATION, evaluating / len(cell.evaluated))
        for group in groups:
            self._note(group, seconds)
            if memory:
                self._memory[group] = max(memory, self._memory.get(group, 0.0))
        return first

    def _note(self, group: Group, seconds: float) -> None:
        self._seconds[group].append(seconds)
        self._typical.pop(group, None)

    def seconds(self, todo: Todo) -> float:
        """The seconds that a cell is expected to take, with what remains to be done for it."""
        cell = todo.cell
        *same_model, everything = _groups(cell)
        known = [group for group in same_model if group in self._seconds]
        if "seconds" not in cell.budget and everything in self._seconds:
            known.append(everything)
        if known:
            whole = self._median(known[0])
        else:
            each = self._median(EVALUATION) if EVALUATION in self._seconds else SECONDS_OF_EVALUATION
            whole = cell.budget.get("seconds", SECONDS_OF_STEPS) + each * len(cell.evaluated)
        training = min(cell.budget.get("seconds", whole), whole)
        return whole if todo.train else max(whole - training, SECONDS_OF_EVALUATION)

    def memory(self, cell: Cell) -> float:
        """The bytes of memory that a cell is expected to need at most."""
        same_model = _groups(cell)[:2]
        return next((MARGIN * self._memory[group] for group in same_model if group in self._memory), MEMORY)

    def _median(self, group: Group) -> float:
        if group not in self._typical:
            self._typical[group] = median(self._seconds[group])
        return self._typical[group]

    def remaining(self, waiting: Sequence[Todo], running: Iterable[tuple[Todo, float]], slots: int) -> float:
        """The seconds until all cells have ended. `running` are cells with the seconds that they have run for."""
        left = sum(self.seconds(todo) for todo in waiting)
        left += sum(max(self.seconds(todo) - elapsed, 0.0) for todo, elapsed in running)
        return left / max(1, slots)


def peak_memory(record: dict[str, Any] | None) -> int | None:
    """The peak memory of the training of a cell, in bytes, from its record."""
    return ((record or {}).get("training") or {}).get("peak_memory")


def _groups(cell: Cell) -> tuple[Group, ...]:
    """What a cell has in common with others, from much to nothing."""
    return (cell.model.label, cell.dataset.label), (cell.model.name,), ()
