"""Proposals of importance sampling: mixtures of distributions that can be drawn from and have a density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

Array = NDArray[np.float64]

CENTERS = 200  # most kernels of one part: their number times the number of points is the cost of a density


class Part(Protocol):
    """A distribution that can be drawn from, with a density: one part of a proposal."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw `n` points, `(n, d)`."""
        ...

    def log_prob(self, x: Array) -> Array:
        """Log-density at points `(n, d)`, `(n,)`."""
        ...


@dataclass(frozen=True)
class Kernels:
    """An equal mixture of the Gaussians N(c, s^2 L L^T) over all `centers` c (k, d) and all `scales` s.

    `factor` is L, lower triangular (d, d).
    """

    centers: Array
    factor: Array
    scales: tuple[float, ...]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal((n, self.centers.shape[1])) * rng.choice(self.scales, n)[:, None]
        drawn: Array = self.centers[rng.integers(len(self.centers), size=n)] + noise @ self.factor.T
        return drawn

    def log_prob(self, x: Array) -> Array:
        d = x.shape[1]
        at, centers = (np.linalg.solve(self.factor, points.T).T for points in (x, self.centers))
        squares = (at**2).sum(1)[:, None] + (centers**2).sum(1) - 2 * at @ centers.T
        least = squares.min(1)
        excess = least[:, None] - squares
        terms = []
        for s in self.scales:
            sums = np.exp(np.maximum(excess / (2 * s**2), -100)).sum(1)  # smaller terms vanish, and exp is slow there
            terms.append(np.log(sums) - least / (2 * s**2) - d * math.log(s))
        constant = -d / 2 * math.log(2 * math.pi) - float(np.log(np.diag(self.factor)).sum())
        from scipy import special

        total: Array = special.logsumexp(terms, axis=0) + constant - math.log(len(self.scales) * len(self.centers))
        return total


@dataclass(frozen=True)
class Proposal:
    """A mixture of parts with positive `shares` that add up to 1."""

    parts: tuple[Part, ...]
    shares: tuple[float, ...]
    dim: int

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw `n` points, `(n, d)`, part by part."""
        counts = rng.multinomial(n, self.shares)
        return np.concatenate([part.sample(int(k), rng) for part, k in zip(self.parts, counts, strict=True)])

    def log_prob(self, x: Array) -> Array:
        """Log-density at points `(n, d)`, `(n,)`."""
        return self.mix(self.log_parts(x))

    def log_parts(self, x: Array) -> Array:
        """Log-densities of the parts at points `(n, d)`, `(parts, n)`."""
        return np.stack([part.log_prob(x) for part in self.parts])

    def mix(self, log_parts: Array) -> Array:
        """Log-density `(n,)` from the `log_parts` `(parts, n)`."""
        from scipy import special

        total: Array = special.logsumexp(log_parts + np.log(self.shares)[:, None], axis=0)
        return total


def around(points: Array, rng: np.random.Generator, true: Part | None = None) -> Proposal:
    """The proposal of the first round for data `points` (n, d), and for the true distribution if it is known."""
    d = points.shape[1]
    covariance = np.atleast_2d(np.cov(points.T)).astype(np.float64)
    factor = np.asarray(np.linalg.cholesky(covariance + 1e-12 * np.eye(d)), np.float64)
    chosen = points[rng.choice(len(points), min(len(points), CENTERS), replace=False)]
    near = Kernels(chosen, factor, (0.6, 0.2, 0.07))
    wide = Kernels(points.mean(0, keepdims=True), factor, (2.0, 4.0))
    if true is None:
        return Proposal((near, wide), (0.5, 0.5), d)
    return Proposal((true, near, wide), (0.25, 0.25, 0.5), d)


class TrueDistribution:
    """The true distribution of a dataset as a part of a proposal."""

    def __init__(self, dataset: trilemma.Dataset) -> None:
        self._dataset = dataset

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        drawn: Array = self._dataset.sample(n, generator).flatten(1).double().numpy()
        return drawn

    def log_prob(self, x: Array) -> Array:
        points = torch.from_numpy(x).reshape(len(x), *self._dataset.shape)
        value: Array = self._dataset.log_prob(points).double().numpy()
        return value
