"""Sums of distances for energy distances: by sorting along directions, or over all pairs, and their jackknife."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .samples import distances

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums of distances from each point, for m real and n generated points.

    Shapes: `real_real` (m,) and `real_generated` (m,) from each real point, `generated_real` (n,) and
    `generated_generated` (n,) from each generated point. Sums over points of the same set leave out the point itself,
    whose distance is 0.
    """

    real_real: Array
    real_generated: Array
    generated_real: Array
    generated_generated: Array

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.real_real + other.real_real,
            self.real_generated + other.real_generated,
            self.generated_real + other.generated_real,
            self.generated_generated + other.generated_generated,
        )

    def __truediv__(self, divisor: float) -> Sums:
        return Sums(
            self.real_real / divisor,
            self.real_generated / divisor,
            self.generated_real / divisor,
            self.generated_generated / divisor,
        )

    def energy(self) -> float:
        """The energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|, as a U-statistic, so its mean is exact."""
        m, n = len(self.real_real), len(self.generated_real)
        cross = self.generated_real.sum() / (m * n)
        within_real = self.real_real.sum() / (m * (m - 1))
        within_generated = self.generated_generated.sum() / (n * (n - 1))
        return float(2 * cross - within_real - within_generated)

    def deviation(self) -> float:
        """The standard deviation of `energy` by the jackknife over the points of both sets.

        It deletes each real and each generated point in turn, so the real points count as a sample too. Near zero
        energy, where the statistic is degenerate, it is too large by a factor of up to about sqrt(2).
        """
        variance = 0.0
        for own, other in (
            (self.real_real, self.real_generated),
            (self.generated_generated, self.generated_real),
        ):
            n = len(own)
            opposite = len(self.generated_real) if own is self.real_real else len(self.real_real)
            without = 2 * (other.sum() - other) / ((n - 1) * opposite)
            if n > 2:
                without = without - (own.sum() - 2 * own) / ((n - 1) * (n - 2))
            variance += (n - 1) * float(without.var())
        return float(np.sqrt(variance))

    def interval(self, level: float = 0.95) -> tuple[float, float, float]:
        """The energy with its interval: `(value, low, high)`."""
        from scipy.special import ndtri

        value, half = self.energy(), float(ndtri((1 + level) / 2)) * self.deviation()
        return value, value - half, value + half


def sums_on_lines(real: Array, generated: Array) -> Sums:
    """Mean over the columns of the sums of distances along each: `(m, k)` and `(n, k)` positions on k lines.

    The sums come from sorted positions and their prefix sums, so the work grows as n log n.
    """
    m, n, lines = len(real), len(generated), real.shape[1]
    found = Sums(np.zeros(m), np.zeros(m), np.zeros(n), np.zeros(n))
    for line in range(lines):
        x, y = real[:, line], generated[:, line]
        in_x, in_y = np.argsort(x), np.argsort(y)
        x, y = x[in_x], y[in_y]
        found.real_real[in_x] += _to_all(x, x, np.arange(m))
        found.real_generated[in_x] += _to_all(x, y, np.searchsorted(y, x))
        found.generated_real[in_y] += _to_all(y, x, np.searchsorted(x, y))
        found.generated_generated[in_y] += _to_all(y, y, np.arange(n))
    mean: Sums = found / lines
    return mean


def _to_all(points: Array, ordered: Array, below: NDArray[np.int64]) -> Array:
    """Sum of |point - other| over all of `ordered`, of which `below` lie below each point."""
    prefix = np.concatenate([[0.0], np.cumsum(ordered)])
    total: Array = points * (2 * below - len(ordered)) + prefix[-1] - 2 * prefix[below]
    return total


def sums_of_pairs(real: Array, generated: Array) -> Sums:
    """Sums of Euclidean distances over all pairs of points `(m, d)` and `(n, d)`."""
    cross, within_real, within_generated = (
        distances(real, generated),
        distances(real, real),
        distances(generated, generated),
    )
    for within in (within_real, within_generated):
        np.fill_diagonal(within, 0)  # not exactly 0, because of rounding
    return Sums(within_real.sum(1), cross.sum(1), cross.sum(0), within_generated.sum(1))


def centered_kernel(distances: Array) -> Array:
    """The kernel of the energy distance, -|x - x'| without its means over rows and columns, `(n, n)`."""
    mean = distances.mean(1)
    kernel: Array = mean[:, None] + mean[None, :] - distances - distances.mean()
    return kernel


def null_scale(kernel: Array) -> float:
    """The limit of n times the standard deviation of the energy distance of two samples of n points each, if equal.

    It is 2 sqrt(2) times the root of E k(X, X')^2 for the centered kernel k `(n, n)`, which is estimated over pairs of
    different points.
    """
    n = len(kernel)
    squares = float((kernel**2).sum() - (np.diag(kernel) ** 2).sum()) / (n * (n - 1))
    return 2 * float(np.sqrt(2 * squares))


def null_quantile(kernel: Array, level: float = 0.95, draws: int = 4000) -> float:
    """The quantile of the energy distance of two samples of one distribution, divided by (1/m + 1/n).

    For large samples the energy distance is (1/m + 1/n) sum_l a_l (Z_l^2 - 1), where the a_l are the eigenvalues of the
    centered kernel k `(n, n)` over n and the Z_l are independent standard normals (Gretton et al. 2009).
    """
    values = np.linalg.eigvalsh(kernel / len(kernel))
    values = values[values > 1e-4 * values[-1]]
    normals = np.random.default_rng(0).standard_normal((draws, len(values)))
    return float(np.quantile((normals**2 - 1) @ values, level))


def frames(d: int, count: int, rng: np.random.Generator) -> Array:
    """`count` random unit vectors as columns `(d, count)`, in groups of d that are orthogonal to each other."""
    groups = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(-(-count // d))]
    return np.concatenate(groups, axis=1)[:, :count]
