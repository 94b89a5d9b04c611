"""Mean ranks over tasks, and tests of their differences (Demsar 2006)."""

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
    """Mean ranks of k models over N tasks: 1 is best, and ties share their mean rank.

    `ranks` (k,) are the means. Two models differ if their mean ranks differ by more than `critical_difference`
    (Nemenyi's test). `p_value` belongs to Friedman's test of the hypothesis that all models are alike; if that is not
    rejected, do not use the critical difference. `groups` are the largest sets of models that cannot be told apart,
    each in order of rank.
    """

    ranks: Array
    critical_difference: float
    p_value: float
    tasks: int
    groups: tuple[tuple[int, ...], ...]


def mean_ranks(values: ArrayLike, *, better: Literal["lower", "higher"] = "lower", level: float = 0.95) -> MeanRanks:
    """Mean ranks of models over independent tasks, from `values` `(tasks, models)`, usually means over seeds.

    The tests are Friedman's chi-square test, corrected for ties, and Nemenyi's test with the critical difference
    q sqrt(k (k + 1) / (6 N)), where q is the quantile of the studentized range over sqrt(2) (Demsar 2006, section
    3.2.2). Infinite values are ranked like other numbers. Raises DataError for NaN, and for fewer than two tasks or two
    models.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or min(array.shape) < 2:
        raise DataError(
            f"values have shape {array.shape}, expected (tasks, models): ranks need at least two tasks and two models"
        )
    if np.isnan(array).any():
        raise DataError("a model has no value on some task and cannot be ranked: leave out the task or the model")
    tasks, models = array.shape
    ranks = stats.rankdata(array if better == "lower" else -array, axis=1)
    mean: Array = ranks.mean(0)
    quantile = float(stats.studentized_range.ppf(level, models, np.inf)) / math.sqrt(2)
    difference = quantile * math.sqrt(models * (models + 1) / (6 * tasks))
    return MeanRanks(mean, difference, _friedman(ranks), tasks, _groups(mean, difference))


def _friedman(ranks: Array) -> float:
    """p-value of Friedman's test from ranks (tasks, models), corrected for ties; 1 if all are tied."""
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
