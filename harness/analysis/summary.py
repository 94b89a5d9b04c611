"""Aggregation over seeds, ties and flags: the numbers behind the comparison."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..contracts.result import GROUPS

RUN = ["dataset_id", "label", "model", "control", "budget", "device"]
"""What makes a row of the comparison, apart from the sampler setting."""

ARENA = ["dataset_id", "budget", "device", "metric", "likelihood"]
"""What two values must share to be ranked against each other."""

COLUMNS = [
    *RUN, "sampler", "metric", "likelihood", "unit", "better", "value", "low", "high", "interval", "half", "seed_sd",
    "seeds", "floor", "floor_low", "floor_high", "n", "best", "below_floor", "contended", "comparable",
    "memorizes", "title", "group", "place", "order", "ranks", "least", "family", "selected",
    "outcome", "phase", "elapsed", "message",
]  # fmt: skip
_TEXT_COLUMNS = (
    *("metric", "likelihood", "unit", "better", "interval", "outcome", "phase", "message", "title", "group", "place"),
    "family",
)
_NUMBER_COLUMNS = (
    "value",
    "low",
    "high",
    "half",
    "seed_sd",
    "floor",
    "floor_low",
    "floor_high",
    "n",
    "elapsed",
    "least",
)


TEXT = (
    *("cell", "evaluation", "model", "label", "plugin", "plugin_version", "config", "dataset", "dataset_id", "budget"),
    *("device", "sampler", "metric", "unit", "better", "likelihood", "details", "outcome", "phase", "message"),
    *("title", "group", "place", "family"),
)
NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order")


def uniform_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results frame in which missing text is `""`, missing numbers are NaN and no column is missing.

    Extra columns stay as they are. A row without an outcome counts as `ok` where it has a metric.
    """
    out = frame.reset_index(drop=True).copy()
    for name in TEXT:
        text = out[name] if name in out else pd.Series("", index=out.index)
        out[name] = text.astype(object).where(text.notna(), "").map(str)
    for name in NUMBERS:
        number = out[name] if name in out else pd.Series(float("nan"), index=out.index)
        out[name] = pd.to_numeric(number, errors="coerce").astype(float)
    control = out["control"] if "control" in out else pd.Series(False, index=out.index)
    out["control"] = control.map(lambda flag: bool(flag) if pd.notna(flag) else False).astype(bool)
    seed = out["seed"] if "seed" in out else pd.Series(0, index=out.index)
    out["seed"] = pd.to_numeric(seed, errors="coerce").fillna(0).astype(int)
    for name, default in (("selected", True), ("superseded", False), ("ranks", True), ("pictured", True)):
        flag = out[name] if name in out else pd.Series(default, index=out.index)
        out[name] = flag.map(lambda value, default=default: bool(value) if pd.notna(value) else default).astype(bool)
    out.loc[(out["outcome"] == "") & (out["metric"] != ""), "outcome"] = "ok"
    out.loc[out["dataset_id"] == "", "dataset_id"] = out["dataset"]
    out.loc[out["label"] == "", "label"] = out["model"]
    out.loc[out["title"] == "", "title"] = out["metric"].str.replace("_", " ")
    out.loc[out["group"] == "", "group"] = "further"
    out.loc[out["place"] == "", "place"] = "main"
    return out


def summary_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (run without its seed, sampler setting, metric, likelihood kind): the mean over seeds.

    - `value`: mean over seeds; `seed_sd`: standard deviation over seeds (NaN for one); `seeds`: the seeds behind it.
    - `half`: half-width of the metric's own 95 % interval, averaged over seeds.
    - `low`, `high`: the interval that ties are read from; `interval` says what it is: `metric` (one seed: the metric's
      own), `range` (two seeds, for which a t interval says nothing: all that their own intervals cover) or `t` (from
      three seeds on: Student's t over seeds, never narrower than the metric's own); `none` where there is none.
    - `best`: the value cannot be told apart from the best one of its arena (same dataset, budget, device, metric and
      likelihood kind): the intervals overlap. Controls, infinite values, metrics without a direction, numbers that do
      not rank models here (`ranks`), and rows that are not `comparable` are never best.
    - `comparable`: False for all rows of an arena in which the sample sizes `n` differ: the bias of a metric depends on
      its n, so such values are not ranked.
    - `below_floor`: the value is better than what real data gives (`floor`; `floor_low`, `floor_high` its interval).
    - `contended`: a timing was taken on a busy machine; `memorizes`: the metric reads it as memorization.
    - `title`, `group`, `place`, `ranks`, `least`: what the metric says of the number (see `Quantity`).
    - `selected`: the latest run into the directory selected the row. Rows that are `superseded` in the frame are left
      out: a newer one of the same model, options, dataset, seed and budget stands in their place.
    - A failed cell or evaluation stays as a row: metric `""`, value NaN, with its outcome, phase, elapsed, message.
    """
    rows = uniform_frame(frame)
    rows = rows[~rows["superseded"]]
    parts = [_numbers(rows), _failures(rows)]
    table = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)
    table = table.reindex(columns=[*COLUMNS, "mixed"])
    for name in (*RUN, "sampler", *_TEXT_COLUMNS):
        if name != "control":
            table[name] = table[name].astype(object).where(table[name].notna(), "")
    for name in _NUMBER_COLUMNS:
        table[name] = pd.to_numeric(table[name]).astype(float)
    for name in ("control", "below_floor", "contended", "memorizes", "ranks", "selected"):
        table[name] = table[name].astype(object).eq(True)
    table["mixed"] = table["mixed"].astype(object).eq(True)
    arenas = table.groupby(ARENA)
    one_size = (arenas["n"].transform("nunique") <= 1) & ~arenas["mixed"].transform("any")
    table["comparable"] = (table["metric"] != "") & one_size
    table["best"] = _best(table)
    return table.drop(columns="mixed")


def metrics_in_order(rows: pd.DataFrame) -> list[str]:
    """The metrics of summary rows as tables show them: group by group, in a group in the order of the suite's metrics
    and of what each says of its numbers.
    """
    metrics = rows.loc[rows["metric"] != ""].groupby("metric", sort=False)
    about = metrics.agg(group=("group", "first"), order=("order", "min"))
    known = list(GROUPS)
    about["group"] = [known.index(group if group in known else "further") for group in about["group"]]
    return [str(name) for name in about.sort_values(["group", "order"], kind="stable").index]


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    good = rows[(rows["outcome"] == "ok") & (rows["metric"] != "") & rows["value"].notna()]
    about = [_details(text) for text in good["details"]]
    groups = good.assign(
        half=(good["ci_high"] - good["ci_low"]) / 2,
        near=good["ci_low"].fillna(good["value"]),
        far=good["ci_high"].fillna(good["value"]),
        contended=[bool(told.get("contended")) for told in about],
        memorizes=[bool(told.get("memorizes")) for told in about],
        floor_low=[_bound(told, 0) for told in about],
        floor_high=[_bound(told, 1) for told in about],
    ).groupby([*RUN, "sampler", "metric", "likelihood"], sort=False)
    out = groups.agg(
        unit=("unit", "first"),
        better=("better", "first"),
        value=("value", "mean"),
        smallest=("value", "min"),
        largest=("value", "max"),
        seed_sd=("value", "std"),
        count=("value", "size"),
        seeds=("seed", _distinct),
        half=("half", "mean"),
        lowest=("near", "min"),
        low=("near", "mean"),
        highest=("far", "max"),
        high=("far", "mean"),
        floor=("floor", "mean"),
        n=("n", "min"),
        sizes=("n", "nunique"),
        floor_low=("floor_low", "mean"),
        floor_high=("floor_high", "mean"),
        contended=("contended", "any"),
        memorizes=("memorizes", "any"),
        title=("title", "first"),
        group=("group", "first"),
        place=("place", "first"),
        order=("order", "min"),
        ranks=("ranks", "all"),
        least=("least", "first"),
        family=("family", "first"),
        selected=("selected", "any"),
    ).reset_index()
    finite = np.isfinite(out["smallest"]) & np.isfinite(out["largest"])
    two, more = finite & (out["count"] == 2), finite & (out["count"] > 2)
    t = stats.t.ppf(0.975, np.maximum(out["count"] - 1, 1)) * out["seed_sd"] / np.sqrt(out["count"])
    out["value"] = out["value"].where(finite, out["largest"])
    out["low"] = out["low"].mask(two, out["lowest"]).mask(more, np.minimum(out["low"], out["value"] - t))
    out["high"] = out["high"].mask(two, out["highest"]).mask(more, np.maximum(out["high"], out["value"] + t))
    out["interval"] = np.select([~finite, two, more, out["half"].notna()], ["none", "range", "t", "metric"], "none")
    out.loc[~finite, ["low", "high", "seed_sd"]] = np.nan
    out["below_floor"] = np.where(
        out["better"] == "higher",
        out["value"] > out["floor"],
        (out["better"] == "lower") & (out["value"] < out["floor"]),
    )
    return out.assign(outcome="ok", mixed=out["sizes"] > 1)


def _failures(rows: pd.DataFrame) -> pd.DataFrame:
    groups = rows[~rows["outcome"].isin(["ok", ""])].groupby(
        [*RUN, "sampler", "outcome", "phase", "message"], sort=False
    )
    out = groups.agg(
        seeds=("seed", _distinct), elapsed=("elapsed", "max"), selected=("selected", "any"), family=("family", "first")
    )
    return out.reset_index()


def _bound(told: dict[str, Any], side: int) -> float:
    interval = told.get("floor_ci")
    bound = interval[side] if isinstance(interval, list) and len(interval) == 2 else None
    return math.nan if bound is None else float(bound)


def _distinct(seeds: pd.Series) -> tuple[int, ...]:
    return tuple(sorted({int(seed) for seed in seeds}))


def _best(table: pd.DataFrame) -> pd.Series:
    best = pd.Series(False, index=table.index)
    ranked = table[table["comparable"] & table["ranks"] & ~table["control"] & np.isfinite(table["value"])]
    for _, group in ranked[ranked["better"].isin(["lower", "higher"])].groupby(ARENA):
        lower = group["better"].iloc[0] == "lower"
        top = group.loc[group["value"].idxmin() if lower else group["value"].idxmax()]
        tied = group["low"] <= top["high"] if lower else group["high"] >= top["low"]
        best[group.index[tied]] = True
    return best


def _details(text: str) -> dict[str, Any]:
    """The JSON object in column `details`; empty where there is none."""
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
