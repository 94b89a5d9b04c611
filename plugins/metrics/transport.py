"""Exact optimal transport between two sample sets of equal size."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import trilemma

from . import column_generation
from .samples import check_pair

Array = NDArray[np.float64]

_DENSE_UP_TO = 1500  # points below which the dense solver is as fast
_MAX_ITERATIONS = 100_000_000  # never reached in practice; POT's default stops early, with an error of up to a percent


class TransportError(trilemma.TrilemmaError):
    """The solver of a transport problem did not converge."""


def squared_w2(*, real: Array, generated: Array) -> float:
    """Squared W2 of two sample sets `(n, d)`: the smallest mean squared distance over all matchings.

    The value is exact. It comes from column generation, which proves that the plan is optimal. Small sets, and
    problems on which column generation gives up, are solved by POT's dense network simplex. Raises DataError or
    DivergedError for sets that cannot be compared, TransportError if the solver does not converge.
    """
    check_pair(real, generated)
    n = len(real)
    if n > _DENSE_UP_TO:
        try:
            return column_generation.solve(real, generated, np.ones(n), np.ones(n)).cost / n
        except column_generation.HopelessError:
            pass
    return dense_squared_w2(real, generated)


def dense_squared_w2(real: Array, generated: Array) -> float:
    """Squared W2 as in `squared_w2`, by the network simplex over the whole cost matrix."""
    return _dense(real, generated, "sqeuclidean")


def w1(*, real: Array, generated: Array) -> float:
    """W1 of two sample sets `(n, d)`: the smallest mean distance over all matchings.

    The value is exact, by POT's network simplex over all n^2 arcs. Raises DataError or DivergedError for sets that
    cannot be compared, TransportError if the solver does not converge.
    """
    check_pair(real, generated)
    return _dense(real, generated, "euclidean")


def _dense(real: Array, generated: Array, distance: Literal["sqeuclidean", "euclidean"]) -> float:
    import ot
    from scipy.spatial.distance import cdist

    cost = cdist(real, generated, distance)
    weights = np.full(len(cost), 1 / len(cost))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning of POT is raised as an error below
        value, log = ot.emd2(weights, weights, cost, numItermax=_MAX_ITERATIONS, log=True)
    if log.get("warning"):
        raise TransportError(f"optimal transport of {len(cost)} points did not converge: {log['warning']}")
    return float(value)
