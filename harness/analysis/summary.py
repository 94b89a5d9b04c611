"""The summary of results behind every comparison: means over seeds, intervals, verdicts of each column, and marks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..contracts.result import GROUPS
from .arenas import RUN, Arena, Record, arenas
from .frames import uniform_frame
from .records import failures, numbers

COLUMNS = [
    *RUN, "sampler", "metric", "likelihood", "base", "machine", "conditions", "unit", "better", "value", "low", "high",
    "interval", "half", "seed_sd", "seeds", "floor", "floor_low", "floor_high", "noise", "n", "best", "leader",
    "below_floor", "contended", "marked", "apart", "elsewhere", "title", "group", "place", "order", "ranks", "least",
    "unbiased", "truth", "family", "selected", "outcome", "phase", "elapsed", "message", "values", "value_seeds",
    "error",
]  # fmt: skip
_NUMBER_COLUMNS = (
    *("value", "low", "high", "half", "seed_sd", "floor", "floor_low", "floor_high", "noise", "n", "elapsed", "least"),
    *("order", "error"),
)
_TUPLES = ("seeds", "values", "value_seeds", "marked")
_FLAGS = (
    *("control", "best", "leader", "apart", "elsewhere", "below_floor", "contended", "ranks", "unbiased", "truth"),
    "selected",
)


def summary_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Summarize a results frame: one row per model, dataset, budget, sampler setting, metric and likelihood.

    - `value` is the mean over seeds, `seed_sd` the standard deviation over seeds (NaN for one seed), and `seeds` the
      seeds.
    - `low` and `high` are the 95 % interval, `half` is half its width, and `interval` says what it is about. From three
      seeds on it is `seeds`, the interval of the mean over training seeds with moderated variances, which is never
      narrower than the interval of the metric. With fewer seeds it is `metric`, the interval that the metric gives for
      one trained model. `none` means no interval.
    - `best` says that the row cannot be told apart from the best in its arena (same dataset, budget, device, machine,
      metric, likelihood kind, base measure, and n unless the number is unbiased); `leader` is the best. Controls,
      `marked` rows, infinite values, metrics without a direction, quantities that do not rank models here (`ranks`),
      and rows with fewer than three seeds are never best. A cost is best only among the rows that are best in quality.
    - `marked` holds the reasons why a row must not be ranked. A mark of a training cost holds for all rows of the
      model, a mark of a metric of samples for its sampler setting, and a mark of a likelihood for the likelihoods.
    - `apart` says that the row has another n than most rows of its metric, or several, and is not ranked with them.
    - `machine` is the machine that the number depends on, if it depends on one, and `trained_on` that of the training
      under a budget in seconds. Seeds from different machines are rows of their own, and are not averaged. `elsewhere`
      says that most numbers of the metric are from another machine, so the row is not ranked with them.
    - `below_floor` says that the value is better than the floor, which is the value for real data. `floor_low` and
      `floor_high` are the interval of the floor. `noise` is about how large the value of the true distribution is by
      chance.
    - `contended` says that a time was measured on a busy machine.
    - `title`, `group`, `place`, `ranks`, `least` and `unbiased` come from the metric (see `Quantity`).
    - `base` and `conditions` say of what a likelihood is, and under which conditions it was computed.
    - `selected` says that the latest run into the directory selected the row. Rows that are `superseded` in the frame
      are left out, because a newer result of the same model, options, dataset, seed and budget takes their place.
    - A failed cell or evaluation is a row with metric `""`, value NaN, and its outcome, phase, elapsed and message.
    """
    return judge(frame).summary


@dataclass(frozen=True)
class Judged:
    """A results frame that was summarized and judged. Nobody may change it.

    `rows` are those of the frame in uniform columns, `summary` those of `summary_rows`, `records` the same as records,
    and `arenas` hold what was compared with what.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    records: list[Record]
    arenas: list[Arena]


def judge(frame: pd.DataFrame | Judged) -> Judged:
    """Summarize and judge a results frame. `verdicts` and `overall` take the result too, so that it is done once."""
    if isinstance(frame, Judged):
        return frame
    everything = uniform_frame(frame)
    rows = everything[~everything["superseded"]]
    records = [*numbers(rows), *failures(rows)]
    judged = arenas(records)
    for arena in judged:
        for row, (low, high) in arena.intervals().items():
            records[row] |= {"low": low, "high": high, "half": (high - low) / 2, "interval": "seeds"}
        for row in arena.best:
            records[row]["best"] = True
        for row in arena.apart:
            records[row]["apart"] = True
        if arena.leader is not None:
            records[arena.leader]["leader"] = True
    return Judged(everything, _table(records), records, judged)


def _table(records: list[Record]) -> pd.DataFrame:
    """Records as a frame with the columns `COLUMNS`. What a record lacks is "", NaN, False or ()."""
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        if name in _NUMBER_COLUMNS:
            columns[name] = np.array([record.get(name, math.nan) for record in records], dtype=np.float64)
        elif name in _FLAGS:
            columns[name] = np.array([bool(record.get(name)) for record in records], dtype=np.bool_)
        else:
            default = () if name in _TUPLES else ""
            columns[name] = pd.Series([record.get(name, default) for record in records], dtype=object)
    return pd.DataFrame(columns)


def metrics_in_order(rows: pd.DataFrame) -> list[str]:
    """The metrics of summary rows in the order of tables: by group, and within a group as the registry lists them."""
    known, found = list(GROUPS), rows[rows["metric"] != ""]
    places: dict[str, tuple[int, float]] = {}
    for metric, group, order in zip(*(found[name].tolist() for name in ("metric", "group", "order")), strict=True):
        own = known.index(group if group in known else "further"), math.inf if math.isnan(order) else order
        first = places.setdefault(str(metric), own)
        places[str(metric)] = first[0], min(first[1], own[1])
    return sorted(places, key=places.__getitem__)


def usual_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Summary rows of one quantity of one line, with that of the usual machine first, then by the number of seeds."""
    if rows["machine"].nunique() < 2:
        return rows
    seeds = -rows["seeds"].map(len)
    return rows.assign(_few=seeds).sort_values(["elsewhere", "_few"], kind="stable").drop(columns="_few")
