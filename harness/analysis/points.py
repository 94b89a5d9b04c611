"""Means of a number over blocks of the test points, by which models are compared at the same points.

An NLL is a mean over test points. Which points these are moves the NLL of all models alike, so that differences are
known better than the numbers themselves. A metric gives the means over blocks of the points, in their order, as
`block_means` in the details of its results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 1e-4
"""Nats or bits: the least error of a difference, because log-densities are computed in single precision."""
_LEAST_BLOCKS = 8


def block_means(details: dict[str, Any], value: float) -> list[float] | None:
    """The means over blocks that a metric gave beside a value; None if there are none, or their mean is another."""
    found = details.get("block_means")
    if not isinstance(found, list) or len(found) < _LEAST_BLOCKS:
        return None
    if not all(isinstance(mean, float) and math.isfinite(mean) for mean in found):
        return None
    # Blocks differ in size by one point, which moves the mean by far less than this.
    slack = 0.1 * float(np.std(found)) + 1e-4 * max(1.0, abs(value))
    return found if math.isfinite(value) and abs(float(np.mean(found)) - value) <= slack else None


def over_seeds(found: Sequence[list[float] | None]) -> Array | None:
    """The mean over seeds of means over blocks, `(k,)`; None if a seed lacks them or has another number of them."""
    usable = [means for means in found if means is not None]
    if not usable or len(usable) < len(found) or len({len(means) for means in usable}) != 1:
        return None
    means: Array = np.array(usable).mean(0)
    return means


def joined(*parts: tuple[float, float]) -> tuple[float, float]:
    """The error of a sum of independent parts, given as errors and degrees of freedom, by Welch and Satterthwaite."""
    error = math.hypot(*(own for own, _ in parts))
    spread = sum(own**4 / df for own, df in parts)
    return error, error**4 / spread if spread > 0 else math.inf
