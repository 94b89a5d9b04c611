"""The interval of a mean, and Student's t-distribution, for which `scipy.stats` would take long to load.

For comparisons see `paired` (two models), `aggregates` (interquartile mean, probability of improvement, performance
profiles), `ranks` (mean ranks over datasets) and `pareto` (Pareto fronts).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean of independent values and its Student-t interval.

    Returns `(mean, low, high)`; the bounds are None for fewer than two values.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if array.size < 2:
        return mean, None, None
    half = float(t_quantile(0.5 + level / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    return mean, mean - half, mean + half


def t_quantile(p: float, df: float) -> float:
    """The quantile of Student's t-distribution; with infinite `df`, of the normal distribution."""
    from scipy import special

    return float(special.ndtri(p) if np.isinf(df) else special.stdtrit(df, p))


def t_tail(x: float, df: float) -> float:
    """The probability that Student's t-distribution exceeds `x`; with infinite `df`, the normal distribution."""
    from scipy import special

    return float(special.ndtr(-x) if np.isinf(df) else special.stdtr(df, -x))
