"""The visits of the timing phase, put together: one value with an interval from repeated measurements of a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..analysis.statistics import mean_interval

Interval = tuple[float, float | None, float | None]


def merged(visits: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of all visits that ended as `ok`, put together.

    A value is the geometric mean over visits, with the t-interval of their logarithms; one visit gives no interval.
    The details are those of the last visit and, as `visits`, the value of each. If other processes disturbed some of
    the visits (`contended`), these are left out, and `contended_visits` is their number. If they disturbed all of them,
    all are kept and the value is `contended`.
    """
    results: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for visit in visits:
        for result in visit["results"] if visit["outcome"] == "ok" else ():
            results.setdefault((result["metric"], result["likelihood"]), []).append(result)
    return [_merged(found) for found in results.values()]


def _merged(found: list[dict[str, Any]]) -> dict[str, Any]:
    calm = [result for result in found if not result["details"].get("contended")]
    kept = calm or found
    values = [float(result["value"]) for result in kept]
    value, low, high = geometric_interval(values)
    details = {**kept[-1]["details"], "visits": values}
    if len(kept) < len(found):
        details["contended_visits"] = len(found) - len(kept)
    marks = list(dict.fromkeys(mark for result in kept for mark in result["marks"]))
    return {**kept[-1], "value": value, "ci_low": low, "ci_high": high, "details": details, "marks": marks}


def geometric_interval(values: Sequence[float]) -> Interval:
    """Geometric mean of positive values, with the t-interval of their logarithms; the bounds are None for one value.

    Values that are not all positive have no geometric mean, so they get the arithmetic mean and its interval. With an
    infinite value there is no interval.
    """
    if not all(math.isfinite(value) for value in values):
        return sum(values) / len(values), None, None
    if min(values) <= 0:
        return mean_interval(values)
    mean, low, high = mean_interval([math.log(value) for value in values])
    return math.exp(mean), None if low is None else math.exp(low), None if high is None else math.exp(high)
