"""The total mass of a density, by importance sampling from a defensive mixture in two rounds.

The proposal has parts that cover the data, the space between the data, and a few data scales around them (Hesterberg
1995, defensive importance sampling). The second round adds kernels where the first one found mass (population Monte
Carlo, Cappé et al. 2004). A weight is q(x) / m(x), where m is the density of the *whole* mixture (the balance heuristic
of Veach & Guibas 1995), so that no weight is larger than 1 / share times the ratio to any part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

MOST_DIM = 2  # most coordinates in which mass away from the data is found; see docs/honest-numbers.md
CENTERS = 200  # most kernels of one part: their number times the number of points is the cost of a density
SEARCH = (0.5, 0.1)  # shares of the evaluations in the rounds that look for mass; the rest estimate it
WIDTHS = (0.5, 0.2, 0.07)  # of kernels where mass was found, in standard deviations of that mass
TOLERANCE = 0.02  # distance of a mass from 1 that solvers and single precision may cause
ROUNDING = 1e-6  # relative error of weights in single precision
SURE = 0.999  # level of the interval behind a mark
MOST_MISSED = 0.05  # largest share of training points with weights above all that are behind an estimate
ADAPTED = 0.5  # share of the kernels where mass was found
LEAST_EFFECTIVE = 100  # fewest effective draws behind an estimate


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


@dataclass(frozen=True)
class Mass:
    """An estimate of a mass.

    Its value and standard error with `freedom` degrees of freedom, the weights `(n,)` behind it, the number of
    effective points, and the proposal of the last round.
    """

    value: float
    error: float
    freedom: int
    weights: Array
    effective: float
    proposal: Proposal

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The Student-t interval."""
        from scipy import special

        half = float(special.stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        return self.value - half, self.value + half

    def marks(self, likelihood: str) -> tuple[str, ...]:
        """The mark of a density of the kind `exact`, `ode` or `map` whose mass is not 1.

        A table has many rows, so the interval of `SURE` must exclude 1, and by more than `TOLERANCE`.
        """
        low, high = self.interval(SURE)
        if likelihood not in ("exact", "ode", "map") or (low <= 1 + TOLERANCE and high >= 1 - TOLERANCE):
            return ()
        low, high = self.interval()
        return (f"mass {self.value:.2f} ({max(0.0, low):.2f} to {high:.2f})",)


def total_mass(log_prob: LogDensity, proposal: Proposal, n: int, seed: int = 0) -> Mass:
    """The integral of a density from `n` evaluations of its logarithm.

    The shares `SEARCH` of the evaluations look for mass, the others give the estimate. The ratio of the density of a
    part to that of the mixture has mean 1, so the weights are regressed on these ratios, and the estimate is the
    regression at ratios of 1 (Owen & Zhou 2000, mixture importance sampling with control variates). It is nearly exact
    for a density close to a multiple of a part. The number of effective points is (sum w)^2 / sum w^2 (Kong 1992).
    """
    rng = np.random.default_rng(seed)
    start, last = proposal, proposal
    points, log_weights = np.empty((0, proposal.dim)), np.empty(0)
    for share in SEARCH:
        found = last.sample(int(share * n), rng)
        points = np.concatenate([points, found])
        log_weights = np.concatenate([log_weights, log_prob(found) - last.log_prob(found)])
        last = _adapted(start, points, log_weights, rng)
    draws = last.sample(n - len(points), rng)
    log_parts = last.log_parts(draws)
    log_mixture = last.mix(log_parts)
    weights = np.exp(log_prob(draws) - log_mixture)
    controls = np.exp(log_parts - log_mixture).T - 1
    design = np.concatenate([np.ones((len(draws), 1)), controls[:, 1:]], axis=1)  # the shares make one redundant
    fit, _, rank, _ = np.linalg.lstsq(design, weights, rcond=None)
    freedom = len(draws) - int(rank)
    error = math.sqrt(float(((weights - design @ fit) ** 2).sum()) / freedom / len(draws))
    error = math.hypot(error, ROUNDING * abs(float(fit[0])))
    square = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / square if square else 0.0
    return Mass(float(fit[0]), error, freedom, weights, effective, last)


def _adapted(proposal: Proposal, points: Array, log_weights: Array, rng: np.random.Generator) -> Proposal:
    """The proposal with half of its mass moved to kernels about points with large weights."""
    if not np.isfinite(log_weights).any():
        return proposal
    share = np.exp(log_weights - np.max(log_weights))
    share /= share.sum()
    chosen = points[rng.choice(len(points), CENTERS, p=share)]
    center = share @ points
    covariance = (points - center).T @ ((points - center) * share[:, None])
    factor = np.linalg.cholesky(covariance + 1e-6 * np.diag(points.var(0)))
    kernels = Kernels(chosen, np.asarray(factor, dtype=np.float64), WIDTHS)
    shares = np.array(proposal.shares) * (1 - ADAPTED)
    return Proposal((*proposal.parts, kernels), (*shares, ADAPTED), proposal.dim)


def excess_marks(log_ratio: Array) -> tuple[str, ...]:
    """The mark of a density q with too much mass on the data, from log q - log p `(n,)` at points drawn from p.

    E_p[q / p] is the mass of q on the support of p. It is at most 1 for a density, in any number of dimensions, so a
    larger value is a mistake. A smaller one says nothing.
    """
    with np.errstate(over="ignore"):
        _, low, _ = trilemma.mean_interval(np.exp(log_ratio), SURE)
    return (f"mass at least {low:.2f}",) if low is not None and low > 1 + TOLERANCE else ()


# The mass of a model


def mass_of(evaluation: trilemma.Evaluation, n: int) -> Mass | str:
    """The mass of the likelihood of a model from `n` evaluations, or the reason why it cannot be told.

    No mass is better than a wrong one. It is not told in more than `MOST_DIM` dimensions, for images, if few effective
    points are behind it, and if the density has peaks at training points that no drawn point has met.
    """
    data = evaluation.dataset
    if data.levels is not None:
        return "images have too many dimensions"
    if evaluation.dim > MOST_DIM:
        return f"more than {MOST_DIM} dimensions"
    if n < 1000:
        return "too few points asked for"
    train = data.splits.train.flatten(1).double().numpy()
    rng = np.random.default_rng(0)
    proposal = around(train, rng, _True(data) if data.has_density else None)

    def log_prob(x: Array) -> Array:
        points = torch.from_numpy(x).reshape(len(x), *data.shape)
        return evaluation.log_prob_at(points, "points around the data")

    try:
        found = total_mass(log_prob, proposal, n)
    except trilemma.DivergedError:
        return "the log-density is not finite at some points around the data"
    if found.effective < LEAST_EFFECTIVE:
        return f"only {found.effective:.0f} effective points"
    if found.value and _missed(found, log_prob, train[:1000]) > MOST_MISSED:
        return "the density has peaks at training points that the proposal misses"
    return found


def _missed(found: Mass, log_prob: LogDensity, points: Array) -> float:
    """The share of data points whose weight is larger than all weights behind the estimate."""
    return float((log_prob(points) - found.proposal.log_prob(points) > math.log(np.max(found.weights))).mean())


class _True:
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
