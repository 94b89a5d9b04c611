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

import numpy as np
import torch
from numpy.typing import NDArray

import trilemma

from .proposals import CENTERS, Kernels, Proposal, TrueDistribution, around

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

MOST_DIM = 2  # most coordinates in which mass away from the data is found; see docs/honest-numbers.md
SEARCH = (0.5, 0.1)  # shares of the evaluations in the rounds that look for mass; the rest estimate it
WIDTHS = (0.5, 0.2, 0.07)  # of kernels where mass was found, in standard deviations of that mass
TOLERANCE = 0.02  # distance of a mass from 1 that solvers and single precision may cause
ROUNDING = 1e-6  # relative error of weights in single precision
SURE = 0.999  # level of the interval behind a mark
MOST_MISSED = 0.05  # largest share of training points with weights above all that are behind an estimate
ADAPTED = 0.5  # share of the kernels where mass was found
MOST_VAGUE = 0.1  # half the width of the interval of SURE beyond which the mass of a map is not told to be 1
LEAST_EFFECTIVE = 100  # fewest effective draws behind an estimate
LARGEST = 300.0  # logarithm of a weight whose square is still a number
MORE = 8  # times as many evaluations in a second attempt, if fewer effective draws are behind the first


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

    def half(self, level: float = SURE) -> float:
        """Half the width of the Student-t interval."""
        from scipy import special

        return float(special.stdtrit(self.freedom, 0.5 + level / 2)) * self.error

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The Student-t interval."""
        half = self.half(level)
        return self.value - half, self.value + half

    def least(self) -> float:
        """A lower limit of the mass at the level `SURE`. It holds where few effective points give no estimate.

        The mean of weights that are cut at any limit is at most the mass, and it is known better than the mean of the
        weights. One half of the draws chooses the limit, the largest that leaves `LEAST_EFFECTIVE` effective points.
        The other half gives the lower end of the t-interval, which is too low rather than too high for weights that
        are skewed to the right.
        """
        known = np.sort(self.weights[::2])
        above = np.arange(len(known))[::-1]  # weights larger than each one, which would be cut to it
        with np.errstate(invalid="ignore", divide="ignore"):
            effective = (known.cumsum() + above * known) ** 2 / ((known**2).cumsum() + above * known**2)
        enough = known[effective >= LEAST_EFFECTIVE]
        if not len(enough):
            return 0.0
        _, low, _ = trilemma.mean_interval(np.minimum(self.weights[1::2], enough[-1]), SURE)
        return max(0.0, low or 0.0)

    def marks(self, likelihood: str) -> tuple[str, ...]:
        """The mark of a density of the kind `exact`, `ode` or `map` whose mass is not 1.

        A table has many rows, so the interval of `SURE` must exclude 1, and by more than `TOLERANCE`.
        """
        low, high = self.interval(SURE)
        if likelihood not in ("exact", "ode", "map") or (low <= 1 + TOLERANCE and high >= 1 - TOLERANCE):
            return ()
        side = "large" if low > 1 + TOLERANCE else "small"
        low, high = self.interval()
        return (f"mass too {side}: {self.value:.2f} ({max(0.0, low):.2f} to {high:.2f})",)


def total_mass(log_prob: LogDensity, proposal: Proposal, n: int, seed: int = 0) -> Mass:
    """The integral of a density from `n` evaluations of its logarithm.

    The shares `SEARCH` of the evaluations look for mass, the others give the estimate. The ratio of the density of a
    part to that of the mixture has mean 1, so the weights are regressed on these ratios, and the estimate is the
    regression at ratios of 1 (Owen & Zhou 2000, mixture importance sampling with control variates). It is nearly exact
    for a density close to a multiple of a part. The number of effective points is (sum w)^2 / sum w^2 (Kong 1992).
    Raises OverflowError if a weight is larger than exp(`LARGEST`).
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
    log_weights = log_prob(draws) - log_mixture
    if log_weights.max() > LARGEST:
        raise OverflowError("the mass is too large for a number")
    weights = np.exp(log_weights)
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
    _, low, _ = trilemma.mean_interval(np.exp(np.minimum(log_ratio, LARGEST)), SURE)
    return _at_least(low or 0.0)


def _at_least(mass: float) -> tuple[str, ...]:
    """The mark of a mass that is at least this large; none if that is not above 1."""
    text = f"{mass:.2f}" if mass < 1000 else f"{mass:.3g}"
    return (f"mass too large: at least {text}",) if mass > 1 + TOLERANCE else ()


# The mass of a model


@dataclass(frozen=True)
class Untold:
    """The reason why a mass cannot be told, and the `least` that it can be."""

    reason: str
    least: float = 0.0

    def marks(self, likelihood: str) -> tuple[str, ...]:
        """The mark of a mass that is above 1, whatever it is. The noise of a bound makes its mass too large."""
        return () if likelihood == "bound" else _at_least(self.least)


def mass_of(evaluation: trilemma.Evaluation, n: int) -> Mass | Untold:
    """The mass of the likelihood of a model from `n` evaluations, or the reason why it cannot be told.

    No mass is better than a wrong one. It is not told in more than `MOST_DIM` dimensions, for images, if few effective
    points are behind it, and if the density has peaks at training points that no drawn point has met. That of a map
    must also be known to within `MOST_VAGUE`, or else be off 1. If `n` points are too few, `MORE` times as many are
    tried.
    """
    data = evaluation.dataset
    if data.levels is not None:
        return Untold("images have too many dimensions")
    if evaluation.dim > MOST_DIM:
        return Untold(f"more than {MOST_DIM} dimensions")
    if n < 1000:
        return Untold("too few points asked for")
    train = data.splits.train.flatten(1).double().numpy()
    rng = np.random.default_rng(0)
    proposal = around(train, rng, TrueDistribution(data) if data.has_density else None)

    def log_prob(x: Array) -> Array:
        points = torch.from_numpy(x).reshape(len(x), *data.shape)
        return evaluation.log_prob_at(points, "points around the data")

    def vague(found: Mass) -> bool:
        """Whether a map has a mass that may be 1 and may be far from it."""
        kind = evaluation.likelihood
        return kind == "map" and not found.marks(kind) and found.half() > MOST_VAGUE

    try:
        found = total_mass(log_prob, proposal, n)
        if 0 < found.effective < LEAST_EFFECTIVE or vague(found):
            found = total_mass(log_prob, proposal, MORE * n, seed=1)
    except trilemma.DivergedError:
        return Untold("the log-density is not finite at some points around the data")
    except OverflowError as error:
        # By Markov's inequality: the largest of k weights with mean m exceeds k m / (1 - SURE) as rarely as 1 - SURE.
        return Untold(str(error), math.exp(LARGEST) * (1 - SURE) / (MORE * n))
    if found.effective < LEAST_EFFECTIVE:
        return Untold(f"only {found.effective:.0f} effective points", found.least())
    if found.value and _missed(found, log_prob, train[:1000]) > MOST_MISSED:
        return Untold("the density has peaks at training points that the proposal misses", found.least())
    if vague(found):
        return Untold(f"known to within {found.half():.2f} only", found.least())
    return found


def _missed(found: Mass, log_prob: LogDensity, points: Array) -> float:
    """The share of data points whose weight is larger than all weights behind the estimate."""
    return float((log_prob(points) - found.proposal.log_prob(points) > math.log(np.max(found.weights))).mean())
