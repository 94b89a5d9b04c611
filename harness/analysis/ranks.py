"""Mean ranks over tasks, and which differences of them are more than chance (Demsar 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanRanks:
    """Ranks of k models over N tasks: 1 is best, ties share their mean rank.

    `ranks` (k,) are the means; two models differ where their mean ranks are more than `critical_difference` apart
    (Nemenyi's test). `p_value` is that of Friedman's test that all are alike; above the level the critical difference
    is not to be read. `groups` are the largest sets of models that cannot be told apart, each in order of rank.
    """

    ranks: Array
    critical_difference: float
    p_value: float
    tasks: int
    groups: tuple[tuple[int, ...], ...]


def mean_ranks(values: ArrayLike, *, better: Literal["lower", "higher"] = "lower", level: float = 0.95) -> MeanRanks:
    """Mean ranks of models over independent tasks. `values` has shape `(tasks, models)`; means over seeds, usually.

    Friedman's chi-square test, corrected for ties, and Nemenyi's critical difference q sqrt(k (k + 1) / (6 N)), q the
    quantile of the studentized range over sqrt(2) (Demsar 2006, section 3.2.2). Infinite values are ranked last (or
    first), NaN is refused. Raises DataError for fewer than two tasks or two models.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or min(array.shape) < 2:
        raise DataError(f"ranks need at least two tasks and two models, not values of shape {array.shape}")
    if np.isnan(array).any():
        raise DataError("a model without a value on some task cannot be ranked: leave out the task or the model")
    tasks, models = array.shape
    ranks = stats.rankdata(array if better == "lower" else -array, axis=1)
    mean: Array = ranks.mean(0)
    quantile = float(stats.studentized_range.ppf(level, models, np.inf)) / math.sqrt(2)
    difference = quantile * math.sqrt(models * (models + 1) / (6 * tasks))
    return MeanRanks(mean, difference, _friedman(ranks), tasks, _groups(mean, difference))


def _friedman(ranks: Array) -> float:
    """p-value of Friedman's test from ranks (tasks, models), corrected for ties; 1 where all are tied."""
    tasks, models = ranks.shape
    spread = ((ranks - (models + 1) / 2) ** 2).sum()
    if spread == 0:
        return 1.0
    statistic = tasks**2 * (models - 1) * ((ranks.mean(0) - (models + 1) / 2) ** 2).sum() / spread
    return float(stats.chi2.sf(statistic, models - 1))


def _groups(mean: Array, difference: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(mean, kind="stable")
    groups: list[tuple[int, ...]] = []
    for start in range(len(order)):
        members = tuple(int(i) for i in order[start:] if mean[i] - mean[order[start]] <= difference)
        if not groups or not set(members) <= set(groups[-1]):
            groups.append(members)
    return tuple(groups)
