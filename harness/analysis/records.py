"""The rows of a summary as records: means over seeds with what is known of them, and failures.

Records and lists, because a frame takes a tenth of a millisecond for each column that it selects, groups or changes,
which for the few rows of a small run is nearly all of the time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..contracts.result import COSTS
from .arenas import PLACE, RUN, Record
from .frames import told
from .points import block_means, over_seeds

NOTHING = 1e-4
"""Largest error of a mean log-density from single precision, in nats."""
_IMPOSSIBLE = "below the lowest possible value"
_GROUP = ("sampler", "metric", "likelihood")
_FIRST = ("unit", "better", "title", "group", "place", "family")
_AVERAGED = ("value", "ci_low", "ci_high", "floor", "noise")
_FAILURE = ("seed", "elapsed", "selected", "family")
_OTHERS = ("machine", "seed", "n", "order", "least", "ranks", "unbiased", "truth", "selected", "details", "data_id")
_READ = (*RUN, *_GROUP, *_FIRST, *_AVERAGED, *_OTHERS)


def numbers(rows: pd.DataFrame) -> list[Record]:
    """A record for each number of the rows, which are uniform: of one model, sampler setting, metric and likelihood."""
    asked = zip(*(rows[name].tolist() for name in ("outcome", "metric", "value")), strict=True)
    good = [outcome == "ok" and metric != "" and not math.isnan(value) for outcome, metric, value in asked]
    column = {name: list(compress(rows[name].tolist(), good)) for name in _READ}
    about = [told(text) for text in column["details"]]
    # Other numbers carry details that a model has written, and these must not change what is compared.
    costs = [details if group in COSTS else {} for details, group in zip(about, column["group"], strict=True)]
    column["contended"] = [bool(details.get("contended")) for details in costs]
    column["visits"] = [_visits(details) for details in costs]
    column["blocks"] = [
        block_means(details, value) if group == "likelihood" else None
        for details, value, group in zip(about, column["value"], column["group"], strict=True)
    ]
    column["base"] = [str(details.get("base") or "") for details in about]
    column["conditions"] = [str(details.get("conditions") or "") for details in about]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(zip(*(column[name] for name in (*RUN, *_GROUP, "base", "machine")), strict=True)):
        groups.setdefault(key, []).append(place)
    means, deviations = _means(column, about, groups)
    found = []
    for number, (key, places) in enumerate(groups.items()):
        own = {name: [values[place] for place in places] for name, values in column.items()}
        mean = {name: values[number] for name, values in means.items()}
        record = dict(zip((*RUN, *_GROUP, "base", "machine"), key, strict=True))
        record |= {name: own[name][0] for name in _FIRST}
        record["conditions"] = "; ".join(filter(None, dict.fromkeys(own["conditions"])))
        found.append(record | _number(own, mean, deviations[number]))
    _mark(rows, found)
    _note_machines(found)
    return found


def _means(
    column: dict[str, list[Any]], about: list[dict[str, Any]], groups: dict[tuple[Any, ...], list[int]]
) -> tuple[dict[str, list[float]], list[float]]:
    """The means of columns in each group, over what is not missing, and the standard deviation of the value."""
    value, low, high, floor, noise = (np.array(column[name], dtype=np.float64) for name in _AVERAGED)
    with np.errstate(invalid="ignore"):
        half = (high - low) / 2
    half = np.where(np.isfinite(half), half, np.nan)  # without bounds it says nothing, and would tie with every leader
    half = np.where(half <= 1e-12 * np.abs(value), 0.0, half)  # rounding errors are no interval
    ends = {"floor_low": [_bound(details, 0) for details in about],
            "floor_high": [_bound(details, 1) for details in about]}  # fmt: skip
    numeric = pd.DataFrame(
        {"value": value, "half": half, "low": low, "high": high, "floor": floor, "noise": noise, **ends}
    )
    codes = np.empty(len(value), dtype=np.int64)
    for number, places in enumerate(groups.values()):
        codes[places] = number
    grouped = numeric.groupby(codes)
    means = grouped.mean()
    return {str(name): means[name].tolist() for name in numeric}, grouped["value"].std().tolist()


def _number(own: dict[str, list[Any]], mean: dict[str, float], deviation: float) -> Record:
    """What is said of one number: `own` are the columns of its seeds, `mean` the means of these."""
    values, better = own["value"], own["better"][0]
    smallest, largest = min(values), max(values)
    finite = math.isfinite(smallest) and math.isfinite(largest)
    value, half = mean["value"], mean["half"]
    if not finite:  # an infinite value of one seed stays in sight, the worse one if both infinities occur
        value = smallest if math.isinf(smallest) and (better == "higher" or math.isfinite(largest)) else largest
    visits = next((visits for visits in own["visits"] if visits is not None), None)
    sizes = _known(own["n"])
    below = value > mean["floor"] if better == "higher" else better == "lower" and value < mean["floor"]
    unbiased = all(own["unbiased"])
    return {
        "value": value,
        **{name: mean[name] if finite else math.nan for name in ("low", "high", "half")},
        "interval": "metric" if finite and not math.isnan(half) else "none",
        "seed_sd": deviation if finite else math.nan,
        "seeds": _distinct(own["seed"]),
        # A time is measured for one seed, at several visits.
        "values": tuple(values if visits is None else visits),
        "value_seeds": tuple(own["seed"] if visits is None else range(len(visits))),
        "error": 0.0 if visits is not None or math.isnan(half) else half / float(ndtri(0.975)),
        **{name: mean[name] for name in ("floor", "floor_low", "floor_high", "noise")},
        "n": min(sizes, default=math.nan),
        "blocks": over_seeds(own["blocks"]) if visits is None else None,
        "points": frozenset(zip(own["data_id"], own["n"], strict=True)),
        "apart": len(set(sizes)) > 1 and not unbiased,
        "below_floor": below,
        "order": min(_known(own["order"]), default=math.nan),
        "least": next(iter(_known(own["least"])), math.nan),
        "ranks": all(own["ranks"]),
        "unbiased": unbiased,
        **{name: any(own[name]) for name in ("contended", "truth", "selected")},
        "outcome": "ok",
    }


def failures(rows: pd.DataFrame) -> list[Record]:
    """A record for each way in which cells or evaluations of a model have failed."""
    names = [*RUN, "sampler", "outcome", "phase", "message"]
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in _rows(rows, [outcome not in ("ok", "") for outcome in rows["outcome"].tolist()], (*names, *_FAILURE)):
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return [
        dict(zip(names, key, strict=True))
        | {
            "seeds": _distinct(row["seed"] for row in own),
            "elapsed": max(_known(row["elapsed"] for row in own), default=math.nan),
            "selected": any(row["selected"] for row in own),
            "family": own[0]["family"],
        }
        for key, own in groups.items()
    ]


def _mark(rows: pd.DataFrame, found: list[Record]) -> None:
    """Add the reasons why a number must not be ranked."""
    of_run: dict[tuple[Any, ...], dict[str, str]] = {}
    of_line: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in _rows(rows, [marks != "" for marks in rows["marks"].tolist()], (*RUN, "sampler", "group", "marks")):
        run = tuple(row[key] for key in RUN)
        own = of_run if row["group"] == "training" else of_line
        reasons = own.setdefault(run if row["group"] == "training" else (*run, row["sampler"]), {})
        for reason in str(row["marks"]).split("\n"):
            reasons.setdefault(reason.partition(":")[0], reason)  # once, with the figures of the first seed
    for row in found:
        run = tuple(row[key] for key in RUN)
        of_samples = {} if row["group"] == "training" else of_line.get((*run, row["sampler"]), {})
        reasons = {**of_run.get(run, {}), **of_samples}
        # Twice the half-width: among many honest rows, some are below by one half-width.
        slack = 2 * row["half"] if row["half"] > 0 else 0.0
        if row["ranks"] and row["value"] + slack < row["least"] - NOTHING:
            reasons.setdefault(_IMPOSSIBLE, f"{row['title']} {_IMPOSSIBLE}")
        row["marked"] = tuple(reasons.values())


def _note_machines(found: list[Record]) -> None:
    """Add whether a number is from another machine than most of its column: those of models, if there are any.

    With equal numbers, the machine that comes first is the usual one.
    """
    keys = [tuple(row[key] for key in (*PLACE, "metric")) for row in found]
    counts: dict[Any, tuple[Counter[str], Counter[str]]] = {}
    for key, row in zip(keys, found, strict=True):
        counts.setdefault(key, (Counter(), Counter()))[bool(row["control"])][row["machine"]] += 1
    usual = {key: (of_models or of_controls).most_common(1)[0][0] for key, (of_models, of_controls) in counts.items()}
    for key, row in zip(keys, found, strict=True):
        row["elsewhere"] = row["machine"] != usual[key]


def _rows(frame: pd.DataFrame, chosen: list[bool], names: Sequence[str]) -> Iterator[Record]:
    """The chosen rows of a frame as records with the columns `names`."""
    if any(chosen):
        columns = [frame[name].tolist() for name in names]
        for values in compress(zip(*columns, strict=True), chosen):
            yield dict(zip(names, values, strict=True))


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _bound(details: dict[str, Any], side: int) -> float:
    interval = details.get("floor_ci")
    bound = interval[side] if isinstance(interval, list) and len(interval) == 2 else None
    return math.nan if bound is None else float(bound)


def _visits(details: dict[str, Any]) -> list[float] | None:
    """The value of each visit of a time, if there were several."""
    visits = details.get("visits")
    several = isinstance(visits, list) and len(visits) > 1 and all(isinstance(v, int | float) for v in visits)
    return visits if several else None


def _distinct(seeds: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({int(seed) for seed in seeds}))
