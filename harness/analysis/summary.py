"""The summary of results behind every comparison: means over seeds, intervals, ties and flags."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..contracts.result import GROUPS

RUN = ["dataset_id", "label", "model", "control", "budget", "device"]
"""The columns that identify a row of the comparison, besides the sampler setting."""

ARENA = ["dataset_id", "budget", "device", "metric", "likelihood"]
"""The columns in which two values must agree to be ranked against each other."""

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
    *("title", "group", "place", "family", "marks"),
)
NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order", "noise")


def uniform_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results frame in which missing text is `""`, missing numbers are NaN and no column is missing.

    Extra columns stay as they are. A row without an outcome counts as `ok` if it has a metric.
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
    true = {"selected", "ranks", "pictured"}
    for name in (*sorted(true), "superseded", "unbiased"):
        default = name in true
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
    """Summarize a results frame: one row per model, dataset, budget, sampler setting, metric and likelihood kind.

    - `value` is the mean over seeds, `seed_sd` the standard deviation over seeds (NaN for one seed), and `seeds` the
      seeds.
    - `half` is the half-width of the 95 % interval that the metric gives, averaged over seeds.
    - `low` and `high` are the interval that decides ties, and `interval` says which interval it is. For one seed it is
      `metric`, the interval of the metric. For two seeds it is `range`, the range that the intervals of both seeds
      cover, because a t-interval over two seeds is too wide to use. From three seeds on it is `t`, Student's
      t-interval over seeds, which is never narrower than the interval of the metric. `none` means no interval.
    - `best` says that the value is the best in its arena (same dataset, budget, device, metric and likelihood kind), or
      that its interval overlaps with the interval of the best. Controls, infinite values, metrics without a direction,
      quantities that do not rank models here (`ranks`), and rows that are not `comparable` are never best.
    - `comparable` is False for all rows of an arena in which sample sizes `n` differ, because the bias of a metric
      depends on n, or in which a time of a contender is `contended`, because the fastest is then not known.
    - `below_floor` says that the value is better than the floor, which is the value for real data. `floor_low` and
      `floor_high` are the interval of the floor.
    - `contended` says that a time was measured on a busy machine, `memorizes` that the metric flags memorization.
    - `title`, `group`, `place`, `ranks` and `least` come from the metric (see `Quantity`).
    - `selected` says that the latest run into the directory selected the row. Rows that are `superseded` in the frame
      are left out, because a newer result of the same model, options, dataset, seed and budget takes their place.
    - A failed cell or evaluation is a row with metric `""`, value NaN, and its outcome, phase, elapsed and message.
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
    disturbed = (table["contended"] & ~table["control"]).groupby([table[key] for key in ARENA]).transform("any")
    table["comparable"] = (table["metric"] != "") & one_size & ~disturbed
    table["best"] = _best(table)
    return table.drop(columns="mixed")


def metrics_in_order(rows: pd.DataFrame) -> list[str]:
    """The metrics of summary rows in the order of tables: by group, and within a group as the registry lists them."""
    metrics = rows.loc[rows["metric"] != ""].groupby("metric", sort=False)
    about = metrics.agg(group=("group", "first"), order=("order", "min"))
    known = list(GROUPS)
    about["group"] = [known.index(group if group in known else "further") for group in about["group"]]
    return [str(name) for name in about.sort_values(["group", "order"], kind="stable").index]


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    good = rows[(rows["outcome"] == "ok") & (rows["metric"] != "") & rows["value"].notna()]
    half = (good["ci_high"] - good["ci_low"]) / 2
    about = [_details(text) for text in good["details"]]
    groups = good.assign(
        half=half.mask(half <= 1e-12 * good["value"].abs(), 0.0),  # rounding errors are no interval
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
    """The JSON object in column `details`; empty if there is none."""
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
