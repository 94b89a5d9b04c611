"""Pareto fronts: which models are on the front of several criteria, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

Array = NDArray[np.float64]
Direction = Literal["lower", "higher"]


def on_front(values: ArrayLike, better: Sequence[Direction]) -> NDArray[np.bool_]:
    """Whether each row of `values` (models, criteria) is on the Pareto front, shape `(models,)`.

    A row is not on the front if another row is at least as good by every criterion and better by at least one. Rows
    with a NaN are not on the front. Raises DataError if `better` does not give a direction for each criterion.
    """
    array = _oriented(values, better)
    front: NDArray[np.bool_] = np.logical_not(np.isnan(array).any(1))
    for i in np.flatnonzero(front):
        others = array[front]
        front[i] = not ((others <= array[i]).all(1) & (others < array[i]).any(1)).any()
    return front


def front_membership(
    samples: Sequence[ArrayLike], better: Sequence[Direction], *, resamples: int = 1000, seed: int = 0
) -> Array:
    """The share of bootstrap resamples in which each model is on the Pareto front, shape `(models,)`.

    `samples[m]` has shape `(runs, criteria)`: the values of model m at each training seed (or sample set). In each
    resample, the runs of a model are drawn with replacement, all criteria of a run together, so that their correlation
    is kept. The front is the front of the means. A share of 1 means that the model is on the front in every resample.
    With one run per model, the share is 0 or 1. Raises DataError for arrays of another shape.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if any(array.ndim != 2 or not len(array) for array in arrays):
        raise DataError("each model needs values of shape (runs, criteria)")
    rng = np.random.default_rng(seed)
    draws = [array[rng.integers(len(array), size=(resamples, len(array)))].mean(1) for array in arrays]
    means = _oriented(np.stack(draws, axis=1).reshape(-1, len(better)), better).reshape(resamples, -1, len(better))
    means = np.ascontiguousarray(np.moveaxis(means, 2, 0))  # a reduction over the first axis takes a tenth of the time
    front = ~np.isnan(means).any(0)
    for other in range(len(arrays)):  # what another model beats is off the front
        rival = means[:, :, other : other + 1]
        front &= ~((rival <= means).all(0) & (rival < means).any(0))
    share: Array = front.mean(0)
    return share


def _oriented(values: ArrayLike, better: Sequence[Direction]) -> Array:
    """The values, with signs such that lower is better in every column."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(better) or not set(better) <= {"lower", "higher"}:
        raise DataError(
            f"values have shape {array.shape}, expected (models, criteria), with 'lower' or 'higher' for each criterion"
        )
    signs = np.array([1.0 if direction == "lower" else -1.0 for direction in better])
    oriented: Array = array * signs
    return oriented
