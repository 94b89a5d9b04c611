"""What the quality verdict looks at: standardized points, and one log-density as a witness of what they miss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

from ..controls.gmm import GaussianMixture
from .energy_sums import centered_kernel, frames, null_quantile, null_scale
from .samples import distances

Array = NDArray[np.float64]

CLIP = 8.0
"""Standardized log-densities are clipped to plus and minus this, so that one far point does not decide."""
REACH = 20.0
"""Standardized coordinates are clipped to plus and minus this, for the same reason."""
LEAST_DEVIATION = 0.25
"""Nats. The log-density is divided by its deviation or this: a uniform distribution has a deviation of 0."""

_LEAST_SCALE = 0.5  # of the null of the energy of z; it is 1.6 for a Gaussian z, and 0 for a uniform distribution
_REFERENCE = 20_000  # training points that fix location and scale
_NULL_POINTS = 500  # training points over which the null distribution is computed
_MOST_COORDINATES = 64  # the fitted density sees more as principal components and the rest of the variance
_FIT_POINTS = 5000
_FIT: dict[str, Any] = {"components": (8, 16), "regularizations": (0.01, 0.1), "points": _FIT_POINTS, "iterations": 50}

_witnesses: WeakKeyDictionary[trilemma.Dataset, dict[int, Witness]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Features:
    """Standardized points `x` (n, d), and standardized log-densities `z` (n, 1)."""

    x: Array
    z: Array


class Witness:
    """A fixed map from points to features, with the units of the energy distances of both.

    It depends on the dataset alone, whose training points `train` (n, d) are as metrics see them. The density is the
    true one where that is known. Otherwise it is a Gaussian mixture that is fitted to one half of the training points,
    by a fixed permutation. Location, scale and units come from the
    training points, for a fitted density from the half that it has not seen.
    """

    def __init__(self, dataset: trilemma.Dataset, train: Array, directions: int) -> None:
        self.levels, self.shape = dataset.levels, dataset.shape
        self.known = dataset.has_density
        points = train * self._unit
        if self.known:
            self._dataset = dataset
            reference = points[:_REFERENCE]
        else:
            order = np.random.default_rng(0).permutation(len(points))
            half = len(points) // 2
            reference = points[order[half:]][:_REFERENCE]
            self._density = FittedDensity(points[order[:half]], reference, self.levels, dataset.logit_alpha)
        reference = reference / self._unit
        self.mean = reference.mean(0)
        # One scale for all pixels of an image: pixels that hardly vary must not count as much as the others.
        spread = reference.std(0) if self.levels is None else np.full(reference.shape[1], reference.std())
        self.spread = np.where(spread > 0, spread, 1.0)
        log_density = self.log_density(reference, 0)
        self.location = float(log_density.mean())
        self.deviation = max(float(log_density.std()), LEAST_DEVIATION)
        self._null = self.features(reference[:_NULL_POINTS], 0)
        self._directions = directions

    @property
    def _unit(self) -> float:
        """What metrics divide the values of points by: the highest level of images."""
        return 1.0 if self.levels is None else self.levels - 1.0

    def log_density(self, points: Array, seed: int) -> Array:
        """Log-density in nats at points `(n, d)` as metrics see them. `seed` is that of the dequantization noise."""
        if self.known:
            x = torch.from_numpy(points * self._unit).reshape(len(points), *self.shape)
            return self._dataset.log_prob(x).double().numpy()
        return self._density(points * self._unit, seed)

    def features(self, points: Array, seed: int) -> Features:
        """The features of points `(n, d)` as metrics see them. `seed` is that of the dequantization noise of images."""
        z = (self.log_density(points, seed) - self.location) / self.deviation
        z = np.clip(np.nan_to_num(z, nan=-CLIP), -CLIP, CLIP)
        return Features(np.clip((points - self.mean) / self.spread, -REACH, REACH), z[:, None])

    @cached_property
    def _kernels(self) -> tuple[Array, Array]:
        """The centered kernels of x and z between the points of the null."""
        x, z = self._null.x, self._null.z[:, 0]
        if self.known:
            positions = x @ frames(x.shape[1], self._directions, np.random.default_rng(0))
            apart = sum(np.abs(line[:, None] - line) for line in positions.T) / positions.shape[1]
        else:
            apart = distances(x, x)
        return centered_kernel(apart), centered_kernel(np.abs(z[:, None] - z))

    @cached_property
    def units(self) -> tuple[float, float]:
        """The units of the energies of x and z: n times their standard deviation at the true distribution."""
        x, z = self._kernels
        return null_scale(x), max(null_scale(z), _LEAST_SCALE)

    @cached_property
    def noise(self) -> float:
        """The 95 % quantile of the sum of both energies at the true distribution, divided by (1/m + 1/n)."""
        x, z = self._kernels
        return null_quantile(x / self.units[0] + z / self.units[1])

    @property
    def about(self) -> dict[str, Any]:
        """Details of a result."""
        return {
            "witness": "true density" if self.known else "gmm fitted to a half of the training points",
            "clip": CLIP,
            "reach": REACH,
            "log_density": {"location": self.location, "deviation": self.deviation, "least": LEAST_DEVIATION},
            "units": list(self.units),
        }


class FittedDensity:
    """The density of the `gmm` control, fitted to `points` (n, d) with a fixed seed and chosen by `valid` (m, d).

    Images are dequantized and mapped by a logit, and all points are standardized. Of more than 64 coordinates the
    mixture sees the first 64 principal components; the others count as one round Gaussian.
    """

    def __init__(self, points: Array, valid: Array, levels: int | None, alpha: float) -> None:
        self._levels, self._alpha = levels, alpha
        y = self._continuous(points, 0)
        self._mean = y.mean(0)
        spread = y.std(0) if levels is None else np.full(y.shape[1], y.std())
        self._spread = np.where(spread > 0, spread, 1.0)
        y = (y - self._mean) / self._spread
        self._basis: Array | None = None
        self._rest = 1.0
        if y.shape[1] > _MOST_COORDINATES:
            self._basis, self._rest = _principal(y)
        self._context = trilemma.Context(
            info=trilemma.DataInfo("witness", "vector", (min(y.shape[1], _MOST_COORDINATES),), len(points)),
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(0),
            valid=trilemma.Split(torch.from_numpy(self._seen(valid, 1)[0]).float()),
        )
        self._model = GaussianMixture(GaussianMixture.Config(**_FIT))
        self._model.fit(trilemma.Split(torch.from_numpy(self._seen(points, 0)[0]).float()), self._context)

    def __call__(self, points: Array, seed: int) -> Array:
        """Log-density in nats up to a constant, `(n,)`. `seed` is that of the dequantization noise."""
        seen, rest = self._seen(points, seed)
        value: Array = self._model.log_prob(torch.from_numpy(seen), self._context).numpy() - rest / (2 * self._rest)
        return value

    def _seen(self, points: Array, seed: int) -> tuple[Array, Array]:
        """What the mixture sees, and the squared distance `(n,)` to that."""
        y = (self._continuous(points, seed) - self._mean) / self._spread
        if self._basis is None:
            return y, np.zeros(len(y))
        seen = y @ self._basis
        return seen, np.maximum((y**2).sum(1) - (seen**2).sum(1), 0)

    def _continuous(self, points: Array, seed: int) -> Array:
        if self._levels is None:
            return points
        noise = np.random.default_rng((29, seed)).random(points.shape)
        share = self._alpha + (1 - 2 * self._alpha) * (points + noise) / self._levels
        return np.log(share) - np.log1p(-share)


def _principal(y: Array) -> tuple[Array, float]:
    """The first principal directions `(d, 64)` of centered points, and the mean variance in the others."""
    from sklearn.decomposition import PCA

    fit = PCA(min(_MOST_COORDINATES, len(y) - 1), svd_solver="randomized", random_state=0).fit(y[:_FIT_POINTS])
    basis: Array = fit.components_.T
    rest = float((y**2).sum() - ((y @ basis) ** 2).sum()) / (len(y) * (y.shape[1] - basis.shape[1]))
    return basis, max(rest, 1e-6)


def witness_of(evaluation: trilemma.Evaluation, directions: int) -> Witness:
    """The witness of the dataset of an evaluation, computed once as long as the dataset exists."""
    known = _witnesses.setdefault(evaluation.dataset, {})
    if directions not in known:
        known[directions] = Witness(evaluation.dataset, evaluation.points("train"), directions)
    return known[directions]
