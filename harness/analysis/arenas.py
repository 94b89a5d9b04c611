"""Arenas: the rows of a summary that may be ranked against each other, and which of them are best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from ..contracts.result import COSTS
from .moderated import LEAST_SEEDS, Arms
from .within import paired

RUN = ["dataset_id", "label", "model", "control", "budget", "device", "trained_on"]
"""The columns that identify a model of a summary. Under a budget in seconds, another machine makes another model."""

PLACE = ["dataset_id", "budget", "device", "trained_on"]
"""The columns in which two rows must agree to be compared at all."""

ARENA = [*PLACE, "metric", "likelihood", "base", "machine"]
"""The columns in which two values must agree to be ranked against each other."""

Record = dict[str, Any]
"""A row of a summary."""

CONTENDED = "a time was measured while other work ran on the machine: no comparison"


@dataclass
class Arena:
    """The comparable rows of one metric: `rows` are their labels in the summary, `arms` holds their numbers.

    `records` holds them and those that stand apart, by label in the summary.
    `contenders` are the positions in `arms` of what is ranked: rows that are no control, are not marked and have enough
    seeds; `compared` are those that are compared with the leader. `leader` and `best` are labels of the summary.
    `apart` are rows of the same metric with another n, and `few` are contenders with too few seeds. `note` says why
    nothing is best.
    """

    key: dict[str, Any]
    records: dict[int, Record]
    rows: list[int]
    arms: Arms
    apart: list[int]
    few: list[int]
    contenders: list[int] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)
    leader: int | None = None
    best: list[int] = field(default_factory=list)
    note: str = ""

    def intervals(self) -> dict[int, tuple[float, float]]:
        """The intervals over training seeds of the rows that have enough seeds."""
        cost = _is_cost(self)
        return {
            row: self.arms.interval(i)
            for i, row in enumerate(self.rows)
            if self.arms.seeds[i] >= LEAST_SEEDS and not (cost and self.arms.constant[i])
        }

    def judge(self, among: set[tuple[Any, ...]] | None) -> None:
        """Find the leader and what cannot be told apart from it; for a cost, among the best lines in quality."""
        lines = self.lines
        ranked = [i for i in self.contenders if among is None or lines[i] in among]
        if not ranked:
            self.note = self.note or ("nothing to rank" if among is None else "no row is best in quality")
            return
        if any(self.records[self.rows[i]]["contended"] for i in ranked):
            self.note = CONTENDED
            return
        if among is not None:
            self.compared = ranked
            leader, best = self.arms.not_worse(ranked)
        else:
            leader, best = self._models(ranked)
        self.leader, self.best = self.rows[leader], [self.rows[i] for i in best]

    def _models(self, ranked: list[int]) -> tuple[int, list[int]]:
        """Compare models, each at its best sampler setting, and then the settings of the models that are best."""
        of_model: dict[tuple[Any, ...], list[int]] = {}
        for i in ranked:
            of_model.setdefault(self.lines[i][:-1], []).append(i)
        first = [min(lines, key=lambda i: (self.arms.means[i], i)) for lines in of_model.values()]
        self.compared = first
        leader, models = self.arms.not_worse(first)
        best = []
        seeds = [self.records[row]["value_seeds"] for row in self.rows]
        for lines in of_model.values():
            if set(lines) & set(models):
                best += paired(self.arms, lines, seeds)[1]
        return leader, best

    @cached_property
    def lines(self) -> list[tuple[Any, ...]]:
        """The label, model and sampler setting of each row."""
        return [tuple(self.records[row][name] for name in ("label", "model", "sampler")) for row in self.rows]

    @property
    def first(self) -> Record:
        """The first row, of which all have the title, unit, group and direction."""
        return next(iter(self.records.values()))

    @cached_property
    def position(self) -> dict[int, int]:
        """The position in `arms` of each row of the summary."""
        return {row: i for i, row in enumerate(self.rows)}

    @property
    def unsure(self) -> list[int]:
        """The best rows more than twice the resolution behind the leader, because they vary more than it does."""
        seen, arms, at = self.resolution, self.arms, self.position
        if self.leader is None or seen is None:
            return []
        seen, leader = 2 * (seen if arms.offset is None else math.log(seen)), at[self.leader]
        behind = [row for row in self.best if arms.means[at[row]] - arms.means[leader] > seen]
        shared = all(block is not None for block in arms.blocks) and bool(arms.blocks)
        return [row for row in behind if shared or arms.error(at[row]) > arms.error(leader)]

    @property
    def resolution(self) -> float | None:
        """About which factor, or difference if the scale is not logarithmic, is told apart in half of the cases."""
        return self.arms.resolution(self.compared) if self.leader is not None else None


def arenas(records: Sequence[Record]) -> list[Arena]:
    """The arenas of the rows of a summary, each judged: first those of quality, because costs depend on them."""
    groups: dict[tuple[Any, ...], dict[int, Record]] = {}
    places: dict[tuple[Any, ...], list[Record]] = {}
    for row, record in enumerate(records):
        if record.get("metric") and math.isfinite(record["value"]):
            groups.setdefault(tuple(record[key] for key in ARENA), {})[row] = record
            places.setdefault(place_of(record), []).append(record)
    found = [_arena(dict(zip(ARENA, key, strict=True)), own) for key, own in groups.items()]
    deciding: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for arena in found:
        if not _is_cost(arena):
            arena.judge(None)
    for place, rows in places.items():
        metric = deciding_among(rows, "quality")
        for arena in found:
            if arena.key["metric"] == metric and place_of(arena.key) == place:
                deciding[place] = {arena.lines[arena.position[row]] for row in arena.best}
    for arena in found:
        if _is_cost(arena):
            arena.judge(deciding.get(place_of(arena.key), set()))
    return found


def place_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The dataset, budget, device and machine of training of a record."""
    return tuple(record[key] for key in PLACE)


def deciding_metric(rows: pd.DataFrame, group: str) -> str | None:
    """The metric of a group that decides: the first that ranks, of those that come first in the group if there are any.

    `rows` are summary rows of one dataset.
    """
    names = ("metric", "group", "ranks", "better", "place", "order")
    columns = zip(*(rows[name].tolist() for name in names), strict=True)
    return deciding_among([dict(zip(names, values, strict=True)) for values in columns], group)


def deciding_among(records: Iterable[Record], group: str) -> str | None:
    """The metric of a group that decides, as `deciding_metric` says, among records of summary rows of one dataset."""
    ranked = [
        record
        for record in records
        if record["group"] == group and record["ranks"] and record["better"] in ("lower", "higher")
    ]
    first = [record for record in ranked if record["place"] == "first"] or ranked
    decides = min(first, key=lambda record: (math.isnan(record["order"]), record["order"]), default=None)
    return None if decides is None else str(decides["metric"])


def _arena(key: dict[str, Any], records: dict[int, Record]) -> Arena:
    first, everything = next(iter(records.values())), list(records.values())
    usual = {row: record for row, record in records.items() if not record["apart"]}
    sizes = {record["n"] for record in usual.values() if not math.isnan(record["n"])}
    if len(sizes) > 1 and not all(record["unbiased"] for record in everything):
        models = [record for record in usual.values() if not record["control"]] or usual.values()
        count = Counter(record["n"] for record in models if not math.isnan(record["n"]))
        most = max(count, key=lambda n: (count[n], n))
        usual = {row: record for row, record in usual.items() if record["n"] == most or math.isnan(record["n"])}
    ranking = any(record["ranks"] for record in everything)
    contends = [
        not record["control"] and not record["marked"] and (record["ranks"] or not ranking) for record in usual.values()
    ]
    cost = first["group"] in COSTS
    points = frozenset().union(*(record["points"] for record in usual.values()))
    same_points = len(points) == 1 and all(data for data, _ in points)  # data that is not named may be any
    arms = Arms(
        [np.array(record["values"], dtype=np.float64) for record in usual.values()],
        np.array([record["error"] for record in usual.values()], dtype=np.float64),
        lower=first["better"] != "higher",
        offset=_offset(list(usual.values()), cost),
        pooled=np.array(contends, dtype=bool),
        blocks=[record["blocks"] if same_points else None for record in usual.values()],
    )
    contending = [(i, row) for i, row in enumerate(usual) if contends[i]]
    seeds = {row: len(record["value_seeds"]) for row, record in usual.items()}
    few = [row for _, row in contending if seeds[row] < LEAST_SEEDS]
    arena = Arena(key, records, list(usual), arms, [row for row in records if row not in usual], few)
    if ranking and first["better"] in ("lower", "higher"):
        arena.contenders = [i for i, row in contending if cost or seeds[row] >= LEAST_SEEDS]
        if not arena.contenders and few:
            most_seeds = max(seeds[row] for row in few)
            arena.note = f"{'one seed' if most_seeds == 1 else f'{most_seeds} seeds'}: no comparison of models"
    return arena


def _offset(rows: list[Record], cost: bool) -> float | None:
    """The c of the scale log(value + c); None for numbers that may be of either sign, or that are better if higher."""
    if not rows or rows[0]["better"] == "higher":
        return None
    largest = max(abs(row["value"]) for row in rows)
    if cost:
        return float(max(1e-12, 1e-6 * largest))
    if not all(row["least"] == 0 for row in rows):
        return None
    noise = sorted(row["noise"] for row in rows if math.isfinite(row["noise"]))
    halves = [row["error"] for row in rows if row["error"] > 0]
    # The lower of two middle values: one row with a huge noise must not hide the differences of the others.
    middle = noise[(len(noise) - 1) // 2] if noise else math.nan
    for candidate in (middle, 2 * min(halves) if halves else math.nan):
        if candidate > 0:
            return float(candidate)
    floors = [row["floor"] for row in rows if not math.isnan(row["floor"])]
    floor = median(floors) if floors else math.nan
    return float(floor) if floor > 0 else float(max(1e-12, 1e-3 * largest))


def _is_cost(arena: Arena) -> bool:
    return arena.first["group"] in COSTS


def names(arena: Arena, rows: Iterable[int]) -> list[dict[str, str]]:
    """Rows of an arena as records of label and sampler setting."""
    return [{name: str(arena.records[row][name]) for name in ("label", "sampler")} for row in rows]
