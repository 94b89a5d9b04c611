"""The evaluations that pictures show: each model at its best sampler setting, the best models first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

import trilemma

from . import measures
from .figures import Ink
from .frame import first_row
from .kit import Digest
from .pictures import NEUTRAL

LINE = ["label", "budget", "device", "trained_on"]
"""The columns that name a line of the table without its sampler setting."""
T = TypeVar("T")


@dataclass(frozen=True)
class Chosen:
    """A model at the sampler setting that pictures show: the row of its first seed, its label and style.

    `metric` is the metric by which the setting was chosen; the row has its value if `measured`.
    """

    row: Any
    label: str
    ink: Ink
    control: bool
    metric: str | None
    value: float

    @property
    def measured(self) -> bool:
        """Whether the row is a value of the metric."""
        return self.metric is not None and self.row.metric == self.metric and math.isfinite(self.row.value)


def chosen(run: Digest, dataset: str) -> list[Chosen]:
    """Every model of a dataset at the sampler setting with the best mean quality, best first, then the controls."""
    rows = run.rows[
        (run.rows["dataset_id"] == dataset) & (run.rows["evaluation"] != "") & (run.rows["outcome"] == "ok")
    ]
    metric = measures.pictured(run.summary[run.summary["dataset_id"] == dataset])
    found = []
    for (control, label, *_), own in rows.groupby(["control", *LINE], sort=False):
        row, value = _best(own, metric)
        ink = run.inks.get(str(label)) or Ink(NEUTRAL, "muted", "o")
        found.append(Chosen(row, run.run_label(row), ink, bool(control), metric, value))
    return sorted(found, key=lambda one: (one.control, math.inf if one.control else one.value))


def _best(own: pd.DataFrame, metric: str | None) -> tuple[Any, float]:
    """The row of the first seed at the best sampler setting, and its mean quality, turned so that lower is better."""
    columns = ["sampler", "seed", "value", "better"]  # of all, each choice of rows would take long
    quality = own.loc[(own["metric"] == metric) & own["value"].notna(), columns]
    if quality.empty:
        own = own[own["group"] != "likelihood"] if (own["group"] != "likelihood").any() else own
        own = own[own["sampler"] != ""] if (own["sampler"] != "").any() else own
        return first_row(own.sort_values("seed", kind="stable")), math.inf
    means = quality.groupby("sampler", sort=False)["value"].mean()
    means = -means if quality["better"].iloc[0] == "higher" else means
    sampler = means.idxmin()
    best = quality[quality["sampler"] == sampler].sort_values("seed", kind="stable")
    return first_row(own.loc[best.index[:1]]), float(means.min())


def allowance(total: int, groups: int, most: int, least: int = 1) -> int:
    """How many of at most `total` pictures each of several groups may have: at least `least` and at most `most`."""
    return max(least, min(most, total // max(1, groups)))


def first(things: Sequence[T], most: int, names: Sequence[str]) -> tuple[list[T], str]:
    """The first things, and a sentence that names those that are left out; "" if there are none."""
    if len(things) <= most:
        return list(things), ""
    out = names[most:]
    listed = ", ".join(out[:8]) + (f" and {len(out) - 8} more" if len(out) > 8 else "")
    return list(things[:most]), f"Left out, to keep the page small: {listed}."


def is_image(view: trilemma.RunView, dataset: str) -> bool:
    """Whether the points of a dataset are images."""
    return bool(view.cards.get(dataset, {}).get("kind") == "image")
