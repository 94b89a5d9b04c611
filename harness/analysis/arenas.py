"""Arenas: the rows of a summary that may be ranked against each other, and which of them are best."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..contracts.result import COSTS
from .moderated import LEAST_SEEDS, Arms, paired

RUN = ["dataset_id", "label", "model", "control", "budget", "device", "trained_on"]
"""The columns that identify a model of a summary. Under a budget in seconds, another machine makes another model."""

PLACE = ["dataset_id", "budget", "device", "trained_on"]
"""The columns in which two rows must agree to be compared at all."""

ARENA = [*PLACE, "metric", "likelihood", "base", "machine"]
"""The columns in which two values must agree to be ranked against each other."""

CONTENDED = "a time was measured while other work ran on the machine: no comparison"


@dataclass
class Arena:
    """The comparable rows of one metric: `rows` are their labels in the summary, `arms` holds their numbers.

    `contenders` are the positions in `arms` of what is ranked: rows that are no control, are not marked and have enough
    seeds; `compared` are those that are compared with the leader. `leader` and `best` are labels of the summary.
    `apart` are rows of the same metric with another n, and `few` are contenders with too few seeds. `note` says why
    nothing is best.
    """

    key: dict[str, Any]
    table: pd.DataFrame
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
        if self.table.loc[[self.rows[i] for i in ranked], "contended"].any():
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
        seeds: Any = self.table.loc[self.rows, "value_seeds"].tolist()
        for lines in of_model.values():
            if set(lines) & set(models):
                best += paired(self.arms, lines, seeds)[1]
        return leader, best

    @cached_property
    def lines(self) -> list[tuple[Any, ...]]:
        """The label, model and sampler setting of each row."""
        return list(self.table.loc[self.rows, ["label", "model", "sampler"]].itertuples(index=False, name=None))

    @property
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
        return [row for row in behind if arms.error(at[row]) > arms.error(leader)]

    @property
    def resolution(self) -> float | None:
        """About which factor, or difference if the scale is not logarithmic, is told apart in half of the cases."""
        return self.arms.resolution(self.compared) if self.leader is not None else None


def arenas(table: pd.DataFrame) -> list[Arena]:
    """The arenas of a summary table, each judged: first those of quality, because costs depend on them."""
    numbers = table[(table["metric"] != "") & np.isfinite(table["value"])]
    found = [_arena(dict(zip(ARENA, key, strict=True)), rows) for key, rows in numbers.groupby(ARENA, sort=False)]
    deciding: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for arena in found:
        if not _is_cost(arena):
            arena.judge(None)
    for place, rows in numbers.groupby(PLACE, sort=False):
        metric = deciding_metric(rows, "quality")
        for arena in found:
            if arena.key["metric"] == metric and tuple(arena.key[key] for key in PLACE) == place:
                deciding[place] = {arena.lines[arena.position[row]] for row in arena.best}
    for arena in found:
        if _is_cost(arena):
            arena.judge(deciding.get(tuple(arena.key[key] for key in PLACE), set()))
    return found


def deciding_metric(rows: pd.DataFrame, group: str) -> str | None:
    """The metric of a group that decides: the first that ranks, of those that come first in the group if there are any.

    `rows` are summary rows of one dataset.
    """
    ranked = rows[(rows["group"] == group) & rows["ranks"] & rows["better"].isin(["lower", "higher"])]
    for part in (ranked[ranked["place"] == "first"], ranked):
        if len(part):
            return str(part.sort_values("order", kind="stable")["metric"].iloc[0])
    return None


def _arena(key: dict[str, Any], rows: pd.DataFrame) -> Arena:
    usual = rows[~rows["apart"]]
    if not rows["unbiased"].all() and usual["n"].nunique() > 1:
        count = (usual[~usual["control"]] if (~usual["control"]).any() else usual)["n"].value_counts()
        most = max(count.index, key=lambda n: (count[n], n))
        usual = usual[(usual["n"] == most) | usual["n"].isna()]
    apart = rows.drop(usual.index)
    contends = ~usual["control"] & (usual["marked"].map(len) == 0) & (usual["ranks"] | (not rows["ranks"].any()))
    enough = usual["value_seeds"].map(len) >= LEAST_SEEDS
    ranks = bool(rows["ranks"].any()) and rows["better"].iloc[0] in ("lower", "higher")
    cost = rows["group"].iloc[0] in COSTS
    arms = Arms(
        [np.array(values, dtype=np.float64) for values in usual["values"]],
        usual["error"].to_numpy(np.float64),
        lower=rows["better"].iloc[0] != "higher",
        offset=_offset(usual, cost),
        pooled=contends.to_numpy(bool),
    )
    arena = Arena(key, rows, list(usual.index), arms, list(apart.index), list(usual.index[contends & ~enough]))
    if ranks:
        arena.contenders = list(np.flatnonzero(contends & (enough | cost)))
        if not arena.contenders and arena.few:
            seeds = int(usual.loc[arena.few, "value_seeds"].map(len).max())
            arena.note = f"{'one seed' if seeds == 1 else f'{seeds} seeds'}: no comparison of models"
    return arena


def _offset(rows: pd.DataFrame, cost: bool) -> float | None:
    """The c of the scale log(value + c); None for numbers that may be of either sign, or that are better if higher."""
    if rows["better"].iloc[0] == "higher":
        return None
    if cost:
        return float(max(1e-12, 1e-6 * rows["value"].abs().max()))
    if not (rows["least"] == 0).all():
        return None
    noise, halves = rows["noise"][np.isfinite(rows["noise"])], rows["error"][rows["error"] > 0]
    # The lower of two middle values: one row with a huge noise must not hide the differences of the others.
    middle = noise.quantile(interpolation="lower") if len(noise) else math.nan
    for candidate in (middle, 2 * halves.min() if len(halves) else math.nan):
        if candidate > 0:
            return float(candidate)
    floor = rows["floor"].median()
    return float(floor) if floor > 0 else float(max(1e-12, 1e-3 * rows["value"].abs().max()))


def _is_cost(arena: Arena) -> bool:
    return bool(arena.table["group"].iloc[0] in COSTS)


def names(table: pd.DataFrame, rows: Iterable[int]) -> list[dict[str, str]]:
    """Rows of a summary as records of label and sampler setting."""
    chosen = table.loc[list(rows), ["label", "sampler"]].itertuples(index=False, name=None)
    return [{"label": str(label), "sampler": str(sampler)} for label, sampler in chosen]
