"""Metrics of how well a model reproduces the columns of a table and their correlations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import trilemma

from .samples import check_pair
from .two_sample import TwoSample

Array = NDArray[np.float64]


def marginal_distances(*, real: Array, generated: Array) -> Array:
    """The Kolmogorov-Smirnov distance of each coordinate, shape `(d,)`, between sets `(n, d)`.

    It is the largest difference of the two distribution functions, from 0 to 1 in any units. Raises DataError or
    DivergedError for sets that cannot be compared.
    """
    check_pair(real, generated)
    both = np.sort(np.concatenate([real, generated]), axis=0)
    gaps = np.empty(real.shape[1])
    for j in range(real.shape[1]):
        shares = [np.searchsorted(np.sort(x[:, j]), both[:, j], side="right") / len(x) for x in (real, generated)]
        gaps[j] = np.abs(shares[0] - shares[1]).max()
    return gaps


def correlation_distance(*, real: Array, generated: Array) -> float:
    """Mean absolute difference of the correlation coefficients over pairs of different coordinates, from 0 to 2.

    The sets are `(n, d)`. A coordinate that is constant in one set counts as uncorrelated with all others. Raises
    DataError or DivergedError for sets that cannot be compared, DataError for one coordinate.
    """
    check_pair(real, generated)
    if real.shape[1] < 2:
        raise trilemma.DataError("correlations need at least two coordinates, but the points have one")
    pairs = np.triu_indices(real.shape[1], 1)
    return float(np.abs(_correlations(real)[pairs] - _correlations(generated)[pairs]).mean())


def _correlations(x: Array) -> Array:
    scale = x.std(0)
    z = (x - x.mean(0)) / np.where(scale > 0, scale, 1)
    coefficients: Array = z.T @ z / len(x)
    return coefficients


class Tabular(TwoSample):
    """Errors of the columns of a table, each alone (Kolmogorov-Smirnov distance), and of their correlations.

    They see no other property of the joint distribution, so read them beside a distance between distributions. Raises
    UnsupportedError for images and for tables of one column.
    """

    name = "tabular"
    symmetric = True
    quantities = (
        trilemma.Quantity(name="marginal_error", title="Marginal error", group="quality", place="more"),
        trilemma.Quantity(name="worst_marginal_error", title="Worst marginal error", group="quality", place="more"),
        trilemma.Quantity(name="correlation_error", title="Correlation error", group="quality", place="more"),
    )

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        if evaluation.dataset.kind != "vector" or evaluation.dim < 2:
            raise trilemma.UnsupportedError(
                f"the metric tabular needs a table of two or more columns, unlike '{evaluation.dataset.name}'"
            )
        gaps = marginal_distances(real=real, generated=generated)
        return {
            "marginal_error": float(gaps.mean()),
            "worst_marginal_error": float(np.max(gaps)),
            "correlation_error": correlation_distance(real=real, generated=generated),
        }
