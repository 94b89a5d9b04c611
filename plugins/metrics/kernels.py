"""Energy distance and maximum mean discrepancy, both as unbiased estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, check_pair, squared_distances
from .two_sample import TwoSample

Array = NDArray[np.float64]

_OCTAVES = 5  # bandwidths of the MMD kernel, from a quarter of the median distance to four times it


def energy_distance(*, real: Array, generated: Array) -> float:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely & Rizzo 2013) of sets `(n, d)` and `(m, d)`.

    It is a U-statistic, so it is unbiased and can be negative. Raises DataError or DivergedError for sets that cannot
    be compared.
    """
    check_pair(real, generated, equal=False)
    return -_discrepancy(real, generated, np.sqrt)


def squared_mmd(*, real: Array, generated: Array, bandwidth: float) -> float:
    """Squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) of sets `(n, d)` and `(m, d)`.

    It is a U-statistic, so it is unbiased and can be negative. The kernel is the mean of Gaussians of widths
    `bandwidth` x (1/4, 1/2, 1, 2, 4). Raises DataError or DivergedError for sets that cannot be compared.
    """
    check_pair(real, generated, equal=False)

    def kernel(squared: Array) -> Array:
        """The mean of the Gaussians. Only the widest needs an exponential: half the width is the fourth power."""
        power = np.exp(squared / (-2 * (4 * bandwidth) ** 2))
        total = power.copy()
        for _ in range(_OCTAVES - 1):
            np.square(power, out=power)
            np.square(power, out=power)
            total += power
        total /= _OCTAVES
        return total

    return _discrepancy(real, generated, kernel)


def median_distance(points: Array) -> float:
    """Median distance between the first 1,000 points, which sets the width of the MMD kernel from real data alone."""
    points = points[:1000]
    squared = np.concatenate(list(squared_distances(points, points)))
    return float(np.sqrt(np.median(squared[np.triu_indices(len(points), 1)])))


def _discrepancy(x: Array, y: Array, kernel: Callable[[Array], Array]) -> float:
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y) for a kernel of squared distances, without the diagonals."""
    cross = sum(float(kernel(block).sum()) for block in squared_distances(x, y)) / (len(x) * len(y))
    return _within(x, kernel) + _within(y, kernel) - 2 * cross


def _within(x: Array, kernel: Callable[[Array], Array]) -> float:
    """Mean of the kernel over ordered pairs of different points."""
    total = sum(float(kernel(block).sum()) for block in squared_distances(x, x))
    diagonal = len(x) * float(kernel(np.zeros((1, 1)))[0, 0])
    return (total - diagonal) / (len(x) * (len(x) - 1))


class Energy(TwoSample):
    """Energy distance, which is zero only for equal distributions.

    It has no parameters, but it is insensitive to fine detail.
    """

    name = "energy"
    symmetric = True
    resampled = True
    quantities = (
        trilemma.Quantity(
            name="energy",
            title="Energy distance",
            unit="data units",
            group="quality",
            place="more",
            least=0,
            unbiased=True,
        ),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

        draws: int = Field(12, ge=2, description="independent sample sets drawn from the model")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return {"energy": energy_distance(real=real, generated=generated)}


class Mmd(TwoSample):
    """Squared maximum mean discrepancy under Gaussian kernels of five widths around the median distance."""

    name = "mmd"
    resampled = True
    quantities = (trilemma.Quantity(name="mmd2", title="MMD²", group="quality", place="more", least=0, unbiased=True),)

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        bandwidth = self._bandwidth(evaluation)
        return {"mmd2": squared_mmd(real=real, generated=generated, bandwidth=bandwidth)}

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, float]:
        return {"bandwidth": self._bandwidth(evaluation)}

    def _bandwidth(self, evaluation: trilemma.Evaluation) -> float:
        return median_distance(evaluation.real(min(1000, evaluation.size("test"))))
