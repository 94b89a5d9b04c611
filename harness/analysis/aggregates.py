"""Aggregates of scores over tasks and seeds, with intervals (Agarwal et al. 2021, the methods of `rliable`).

`scores` is an array `(tasks, seeds)`: the values of one metric for one model on each dataset and training seed.
Normalize them first if tasks differ in scale. The bootstrap is stratified: it resamples seeds within each task and
keeps the tasks, so its interval covers the variation over training seeds, but not over datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

Array = NDArray[np.float64]
Interval = tuple[float, float, float]


def interquartile_mean(scores: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all scores (Agarwal et al. 2021, section 4.3).

    Of k scores, floor(k / 4) are cut at each end. It is as robust to a few outliers as the median, and less noisy.
    """
    # A bootstrap takes it thousands of times, of few scores: `scipy.stats.trim_mean` takes 25 times as long.
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def stratified_interval(
    scores: ArrayLike,
    statistic: Callable[[Array], float] = interquartile_mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A statistic of `scores` (tasks, seeds) and its percentile interval under the stratified bootstrap.

    The source is Agarwal et al. 2021, section 4.1. With one seed per task, the interval has no width and no meaning.
    Raises DataError for scores that are not finite or not two-dimensional.
    """
    array = _checked(scores)
    values = [statistic(resample) for resample in _resamples(array, resamples, np.random.default_rng(seed))]
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return statistic(array), float(low), float(high)


def probability_of_improvement(
    a: ArrayLike,
    b: ArrayLike,
    *,
    better: Literal["lower", "higher"] = "lower",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Probability that a run of `a` is better than a run of `b` on a random task. A tie counts one half.

    It is the mean over tasks of the Mann-Whitney statistic U / (seeds_a seeds_b) (Agarwal et al. 2021, section 4.3),
    with its percentile interval under the stratified bootstrap. The arrays are `(tasks, seeds)` over the same tasks;
    the numbers of seeds may differ. Raises DataError if the numbers of tasks differ.
    """
    x, y = _checked(a), _checked(b)
    if len(x) != len(y):
        raise DataError(
            f"the models have scores on {len(x)} and {len(y)} tasks: give scores on the same tasks for both"
        )
    if better == "lower":
        x, y = -x, -y

    def share(x: Array, y: Array) -> Array:
        difference = x[..., :, None] - y[..., None, :]
        shares: Array = ((difference > 0) + 0.5 * (difference == 0)).mean((-3, -2, -1))
        return shares

    rng = np.random.default_rng(seed)
    shares = share(_resamples(x, resamples, rng), _resamples(y, resamples, rng))
    low, high = np.quantile(shares, [0.5 - level / 2, 0.5 + level / 2])
    return float(share(x, y)), float(low), float(high)


def _checked(scores: ArrayLike) -> Array:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"scores have shape {array.shape}, expected (tasks, seeds)")
    if not np.isfinite(array).all():
        raise DataError("scores must be finite: replace the scores of failed runs by a number, or leave them out")
    return array


def _resamples(scores: Array, count: int, rng: np.random.Generator) -> Array:
    """`count` resampled copies of `scores`, with seeds drawn with replacement within each task."""
    chosen = rng.integers(scores.shape[1], size=(count, *scores.shape))
    return np.take_along_axis(scores[None], chosen, axis=2)
