"""The summary of results behind every comparison: means over seeds, intervals, verdicts of each column, and marks."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..contracts.result import COSTS, GROUPS
from .arenas import PLACE, RUN, Arena, arenas
from .frames import told, uniform_frame

COLUMNS = [
    *RUN, "sampler", "metric", "likelihood", "base", "machine", "conditions", "unit", "better", "value", "low", "high",
    "interval", "half", "seed_sd", "seeds", "floor", "floor_low", "floor_high", "noise", "n", "best", "leader",
    "below_floor", "contended", "marked", "apart", "elsewhere", "title", "group", "place", "order", "ranks", "least",
    "unbiased", "truth", "family", "selected", "outcome", "phase", "elapsed", "message", "values", "value_seeds",
    "error",
]  # fmt: skip
_TEXT_COLUMNS = (
    *("metric", "likelihood", "base", "conditions", "unit", "better", "interval", "outcome", "phase", "message"),
    *("title", "group", "place", "family", "machine"),
)
_NUMBER_COLUMNS = (
    *("value", "low", "high", "half", "seed_sd", "floor", "floor_low", "floor_high", "noise", "n", "elapsed", "least"),
    *("order", "error"),
)
_FLAGS = ("control", "apart", "elsewhere", "below_floor", "contended", "ranks", "unbiased", "truth", "selected")
_IMPOSSIBLE = "below the lowest possible value"
NOTHING = 1e-4
"""Largest error of a mean log-density from single precision, in nats."""


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

    `rows` are those of the frame in uniform columns, `summary` those of `summary_rows`, and `arenas` hold what was
    compared with what.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    arenas: list[Arena]


def judge(frame: pd.DataFrame | Judged) -> Judged:
    """Summarize and judge a results frame. `verdicts` and `overall` take the result too, so that it is done once."""
    if isinstance(frame, Judged):
        return frame
    everything = uniform_frame(frame)
    rows = everything[~everything["superseded"]]
    parts = [_numbers(rows), _failures(rows)]
    table = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)
    table = table.reindex(columns=COLUMNS)
    for name in (*RUN, "sampler", *_TEXT_COLUMNS):
        if name != "control":
            table[name] = table[name].astype(object).where(table[name].notna(), "")
    for name in _NUMBER_COLUMNS:
        table[name] = pd.to_numeric(table[name]).astype(float)
    for name in _FLAGS:
        table[name] = table[name].astype(object).eq(True)
    for name in ("values", "value_seeds", "marked"):
        table[name] = [value if isinstance(value, tuple) else () for value in table[name]]
    judged = arenas(table)
    intervals = {row: ends for arena in judged for row, ends in arena.intervals().items()}
    over_seeds, ends = list(intervals), np.array([*intervals.values()]).reshape(-1, 2)
    table.loc[over_seeds, ["low", "high"]] = ends
    table.loc[over_seeds, "half"] = (ends[:, 1] - ends[:, 0]) / 2
    table.loc[over_seeds, "interval"] = "seeds"
    table["best"] = table.index.isin([row for arena in judged for row in arena.best])
    table["leader"] = table.index.isin([arena.leader for arena in judged if arena.leader is not None])
    table["apart"] |= table.index.isin([row for arena in judged for row in arena.apart])
    for arena in judged:
        arena.table = table.loc[arena.table.index]
    return Judged(everything, table, judged)


def metrics_in_order(rows: pd.DataFrame) -> list[str]:
    """The metrics of summary rows in the order of tables: by group, and within a group as the registry lists them."""
    metrics = rows.loc[rows["metric"] != ""].groupby("metric", sort=False)
    about = metrics.agg(group=("group", "first"), order=("order", "min"))
    known = list(GROUPS)
    about["group"] = [known.index(group if group in known else "further") for group in about["group"]]
    return [str(name) for name in about.sort_values(["group", "order"], kind="stable").index]


def usual_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Summary rows of one quantity of one line, with that of the usual machine first, then by the number of seeds."""
    if rows["machine"].nunique() < 2:
        return rows
    seeds = -rows["seeds"].map(len)
    return rows.assign(_few=seeds).sort_values(["elsewhere", "_few"], kind="stable").drop(columns="_few")


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    good = rows[(rows["outcome"] == "ok") & (rows["metric"] != "") & rows["value"].notna()]
    about = [told(text) for text in good["details"]]
    half = (good["ci_high"] - good["ci_low"]) / 2
    half = half.where(np.isfinite(half))  # an interval without bounds says nothing, and would tie with every leader
    cost = good["group"].isin(COSTS)
    groups = good.assign(
        half=half.mask(half <= 1e-12 * good["value"].abs(), 0.0),  # rounding errors are no interval
        # Other numbers carry details that a model has written, and these must not change what is compared.
        contended=[yes and bool(details.get("contended")) for yes, details in zip(cost, about, strict=True)],
        floor_low=[_bound(details, 0) for details in about],
        floor_high=[_bound(details, 1) for details in about],
        base=[str(details.get("base") or "") for details in about],
        conditions=[str(details.get("conditions") or "") for details in about],
        visits=pd.Series(
            [_visits(details) if yes else None for yes, details in zip(cost, about, strict=True)],
            index=good.index,
            dtype=object,
        ),
    ).groupby([*RUN, "sampler", "metric", "likelihood", "base", "machine"], sort=False)
    out = groups.agg(
        unit=("unit", "first"),
        better=("better", "first"),
        value=("value", "mean"),
        smallest=("value", "min"),
        largest=("value", "max"),
        seed_sd=("value", "std"),
        values=("value", tuple),
        value_seeds=("seed", tuple),
        visits=("visits", "first"),
        seeds=("seed", _distinct),
        half=("half", "mean"),
        low=("ci_low", "mean"),
        high=("ci_high", "mean"),
        floor=("floor", "mean"),
        noise=("noise", "mean"),
        n=("n", "min"),
        sizes=("n", "nunique"),
        floor_low=("floor_low", "mean"),
        floor_high=("floor_high", "mean"),
        contended=("contended", "any"),
        conditions=("conditions", "first"),
        title=("title", "first"),
        group=("group", "first"),
        place=("place", "first"),
        order=("order", "min"),
        ranks=("ranks", "all"),
        least=("least", "first"),
        unbiased=("unbiased", "all"),
        truth=("truth", "any"),
        family=("family", "first"),
        selected=("selected", "any"),
    ).reset_index()
    finite = np.isfinite(out["smallest"]) & np.isfinite(out["largest"])
    # An infinite value of one seed stays in sight, the worse one if both infinities occur.
    higher = out["better"] == "higher"
    infinite = out["smallest"].where(np.isinf(out["smallest"]) & (higher | np.isfinite(out["largest"])), out["largest"])
    out["value"] = out["value"].where(finite, infinite)
    out["error"] = out["half"].fillna(0.0) / ndtri(0.975)
    out["interval"] = np.where(finite & out["half"].notna(), "metric", "none")
    out.loc[~finite, ["low", "high", "half", "seed_sd"]] = np.nan
    # A time is measured for one seed, at several visits.
    visited = [v is not None for v in out["visits"]]
    visits: list[Any] = out["visits"].tolist()
    for name, alike in (("values", tuple), ("value_seeds", lambda v: tuple(range(len(v))))):
        own: list[Any] = out[name].tolist()
        out[name] = [alike(v) if yes else old for yes, v, old in zip(visited, visits, own, strict=True)]
    out["error"] = out["error"].mask(pd.Series(visited, index=out.index), 0.0)
    out["below_floor"] = np.where(
        out["better"] == "higher",
        out["value"] > out["floor"],
        (out["better"] == "lower") & (out["value"] < out["floor"]),
    )
    out["marked"] = _marks(rows, out)
    return out.assign(outcome="ok", apart=(out["sizes"] > 1) & ~out["unbiased"], elsewhere=_elsewhere(out))


def _marks(rows: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, ...]]:
    """The reasons why each row of the table must not be ranked."""
    of_run: dict[tuple[Any, ...], dict[str, str]] = {}
    of_line: dict[tuple[Any, ...], dict[str, str]] = {}
    row: Any
    for row in rows[rows["marks"] != ""].itertuples():
        run = tuple(getattr(row, key) for key in RUN)
        found = of_run.setdefault(run, {}) if row.group == "training" else of_line.setdefault((*run, row.sampler), {})
        for reason in str(row.marks).split("\n"):
            found.setdefault(reason.partition(":")[0], reason)  # once, with the figures of the first seed
    marked = []
    for row in table.itertuples():
        run = tuple(getattr(row, key) for key in RUN)
        reasons = {**of_run.get(run, {}), **({} if row.group == "training" else of_line.get((*run, row.sampler), {}))}
        # Twice the half-width: among many honest rows, some are below by one half-width.
        slack = 2 * row.half if row.half > 0 else 0.0
        if row.ranks and row.value + slack < row.least - NOTHING:
            reasons.setdefault(_IMPOSSIBLE, f"{row.title} {_IMPOSSIBLE}")
        marked.append(tuple(reasons.values()))
    return marked


def _elsewhere(table: pd.DataFrame) -> pd.Series:
    """Whether each number is from another machine than most numbers of its column: those of models, if there are any.

    With equal numbers, the machine that comes first is the usual one.
    """
    keys = list(table[[*PLACE, "metric"]].itertuples(index=False, name=None))
    machines, controls = table["machine"].tolist(), table["control"].tolist()
    counts: dict[Any, tuple[Counter[str], Counter[str]]] = {}
    for key, machine, control in zip(keys, machines, controls, strict=True):
        counts.setdefault(key, (Counter(), Counter()))[bool(control)][machine] += 1
    usual = {key: (of_models or of_controls).most_common(1)[0][0] for key, (of_models, of_controls) in counts.items()}
    return pd.Series(
        [machine != usual[key] for key, machine in zip(keys, machines, strict=True)], index=table.index, dtype=bool
    )


def _failures(rows: pd.DataFrame) -> pd.DataFrame:
    groups = rows[~rows["outcome"].isin(["ok", ""])].groupby(
        [*RUN, "sampler", "outcome", "phase", "message"], sort=False
    )
    out = groups.agg(
        seeds=("seed", _distinct), elapsed=("elapsed", "max"), selected=("selected", "any"), family=("family", "first")
    )
    return out.reset_index()


def _bound(details: dict[str, Any], side: int) -> float:
    interval = details.get("floor_ci")
    bound = interval[side] if isinstance(interval, list) and len(interval) == 2 else None
    return math.nan if bound is None else float(bound)


def _visits(details: dict[str, Any]) -> list[float] | None:
    """The value of each visit of a time, if there were several."""
    visits = details.get("visits")
    several = isinstance(visits, list) and len(visits) > 1 and all(isinstance(v, int | float) for v in visits)
    return visits if several else None


def _distinct(seeds: pd.Series) -> tuple[int, ...]:
    return tuple(sorted({int(seed) for seed in seeds}))
