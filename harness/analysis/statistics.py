"""The interval of a mean.

For comparisons see `paired` (two models), `aggregates` (interquartile mean, probability of improvement, performance
profiles), `ranks` (mean ranks over datasets) and `pareto` (Pareto fronts).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean of independent values and its Student-t interval.

    Returns `(mean, low, high)`; the bounds are None for fewer than two values.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if array.size < 2:
        return mean, None, None
    half = float(stats.t.ppf(0.5 + level / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    return mean, mean - half, mean + half
