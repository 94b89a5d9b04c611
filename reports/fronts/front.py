"""The points of quality against cost of one dataset, with the Pareto front for each choice of axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

import trilemma

from .. import measures, numbers
from ..figures import Ink
from ..frame import family
from ..kit import Digest
from ..plots import Curve, Scale, limits

MOST_COSTS, MOST_QUALITIES = 4, 8
PLACE = ("dataset_id", "budget", "device", "trained_on")


@dataclass(frozen=True)
class Cost:
    """A cost that a picture may show quality against. `factor` converts values to the unit of the title."""

    metric: str
    title: str
    factor: float


@dataclass(frozen=True)
class Quality:
    """A quantity that a picture may show, with its references and the limits of its axis."""

    metric: str
    title: str
    better: str
    scale: Scale
    limits: tuple[float, float, bool]
    ranked: bool
    """Whether values of all models may be compared, so that there is a front."""


@dataclass(frozen=True)
class Point:
    """One sampler setting of a model: its numbers by metric, as `(value, low, high)`, costs in the unit of the axis."""

    label: str
    model: str
    line: int
    sampler: str
    marked: bool
    costs: Mapping[str, float]
    qualities: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Front:
    """A Pareto front: the positions of its points, and its steps as in `Scale.front`."""

    on: tuple[int, ...] = ()
    steps: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Picture:
    """All that the picture of one dataset, budget, device and machine of training may show."""

    costs: tuple[Cost, ...]
    qualities: tuple[Quality, ...]
    points: tuple[Point, ...]
    inks: Mapping[str, Ink]

    def front(self, cost: Cost, quality: Quality) -> Front:
        """The front of the means of all points that are not marked; empty if their values may not be compared."""
        if not quality.ranked or quality.better not in ("lower", "higher"):
            return Front()
        own = [(p.costs[cost.metric], p.qualities[quality.metric], i) for i, p in enumerate(self.points)
               if not p.marked and cost.metric in p.costs and quality.metric in p.qualities]  # fmt: skip
        if not own:
            return Front()
        sign = -1.0 if quality.better == "higher" else 1.0
        on, steps = [], []
        best = [math.inf] * 3
        for x, values, i in sorted(own, key=lambda each: (each[0], sign * each[1][0])):
            now = [min(old, sign * new) for old, new in zip(best, values, strict=True)]
            on += [i] if now[0] < best[0] else []
            steps += [(x, sign * now[0], sign * now[1], sign * now[2])] if now != best else []
            best = now
        return Front(tuple(on), tuple(steps))

    def curves(self, cost: Cost, quality: Quality) -> list[Curve]:
        """The curves of one choice of axes: one for each model and kind of sampler."""
        on, lines = set(self.front(cost, quality).on), dict[int, list[int]]()
        for i, point in enumerate(self.points):
            if cost.metric in point.costs and quality.metric in point.qualities:
                lines.setdefault(point.line, []).append(i)
        curves = []
        for line in lines.values():
            line.sort(key=lambda i: self.points[i].costs[cost.metric])
            first = self.points[line[0]]
            x = np.array([self.points[i].costs[cost.metric] for i in line])
            y, low, high = np.array([self.points[i].qualities[quality.metric] for i in line]).T
            filled = np.array([i in on for i in line]) if quality.ranked else None
            curves.append(Curve(first.label, self.inks[first.model], 0, x, y, low, high, filled))
        return curves

    def drawn(self, cost: Cost, quality: Quality) -> Scale:
        """The references of one choice of axes, with the front."""
        steps = self.front(cost, quality).steps
        return replace(quality.scale, front=np.array(steps) if len(steps) > 0 else None)


def picture(run: Digest, dataset: str, budget: str, device: str, trained_on: str) -> Picture | None:
    """The picture of one place in a run; None if no sampler setting of a model has both a quality and a cost."""
    rows = run.summary[(run.summary[list(PLACE)] == [dataset, budget, device, trained_on]).all(axis=1)]
    rows = rows[(rows["metric"] != "") & np.isfinite(rows["value"])].sort_values("elsewhere", kind="stable")
    models = rows[~rows["control"]]
    costs = tuple(_costs(models))
    qualities = [_quality(rows, metric) for metric in _shown(rows, models)]
    points = tuple(_points(models, costs, [quality.metric for quality in qualities]))
    points = tuple(point for point in points if point.costs and point.qualities)
    made = Picture(costs, tuple(qualities), points, run.inks)
    filled = [(quality, [curve for cost in costs for curve in made.curves(cost, quality)]) for quality in qualities]
    shown = [replace(quality, limits=limits(curves, quality.scale)) for quality, curves in filled if curves]
    return replace(made, qualities=tuple(shown)) if costs and shown else None


def _costs(models: pd.DataFrame) -> Iterator[Cost]:
    """The costs of sampling: those that decide, then operations."""
    own = models[(models["group"] == "sampling") & (models["better"] == "lower") & (models["value"] > 0)]
    decide, work = own[own["place"] == "first"], own[own["unit"].str.upper() == "FLOP"]
    order = dict.fromkeys([*trilemma.metrics_in_order(decide), *trilemma.metrics_in_order(work)])
    for metric in list(order)[:MOST_COSTS]:
        rows = own[own["metric"] == metric]
        factor, unit = numbers.scale(str(rows["unit"].iloc[0]), rows["value"])
        yield Cost(metric, measures.title_of(rows, metric) + (f" [{unit}]" if unit else ""), factor)


def _shown(rows: pd.DataFrame, models: pd.DataFrame) -> list[str]:
    """The metrics that a picture may show: the deciding one, then the others that the table shows, first ones first."""
    good = models[models["better"].isin(["lower", "higher"]) & (models["place"] != "more")]
    good = good[good["group"].isin(["quality", "coverage", "likelihood"])]
    first = trilemma.metrics_in_order(good[good["place"] == "first"])
    deciding = measures.pictured(rows)
    order = [*([deciding] if deciding else []), *first, *trilemma.metrics_in_order(good)]
    return list(dict.fromkeys(order))[:MOST_QUALITIES]


def _quality(rows: pd.DataFrame, metric: str) -> Quality:
    own = rows[rows["metric"] == metric]
    noise = float(own["noise"].median()) if own["ranks"].any() else math.nan
    floors = own[["floor", "floor_low", "floor_high"]].mean().to_numpy(np.float64)
    known = math.isfinite(floors[0]) and own["group"].iloc[0] != "likelihood"
    floor: Any = tuple(np.where(np.isnan(floors), floors[0], floors)) if known else None
    controls = own[own["control"]].groupby("label", sort=False)["value"].min()
    scale = Scale(
        floor=(0.0, -noise, noise) if noise > 0 else floor,
        noise=noise if noise > 0 else None,
        controls={str(label): float(value) for label, value in controls.items()},
    )
    models = own[~own["control"]]
    alike = models[["likelihood", "base"]].drop_duplicates()
    better = str(own["better"].iloc[0])
    return Quality(metric, measures.axis_title(own, metric), better, scale, (0.0, 1.0, False), len(alike) < 2)


def _points(models: pd.DataFrame, costs: tuple[Cost, ...], qualities: list[str]) -> Iterator[Point]:
    factors = {cost.metric: cost.factor for cost in costs}
    lines: dict[tuple[str, str], int] = {}
    labels: dict[str, dict[str, dict[str, Any]]] = {}
    row: Any
    for row in models.itertuples():
        if row.metric in factors or row.metric in qualities:
            labels.setdefault(row.label, {}).setdefault(row.sampler, {}).setdefault(row.metric, row)
    for label, named in labels.items():
        once = named.pop("", {})
        families = {family(sampler) for sampler in named}
        for sampler, found in named.items():
            found = once | found
            line = lines.setdefault((label, family(sampler)), len(lines))
            yield Point(
                label=f"{label} · {family(sampler)}" if len(families) > 1 else label,
                model=label,
                line=line,
                sampler=sampler,
                marked=any(row.marked and row.sampler for row in found.values()),
                costs={m: found[m].value * f for m, f in factors.items() if m in found and found[m].value > 0},
                qualities={m: _bounds(found[m]) for m in qualities if m in found},
            )


def _bounds(row: Any) -> tuple[float, float, float]:
    low, high = (row.value if math.isnan(end) else end for end in (row.low, row.high))
    return row.value, low, high
