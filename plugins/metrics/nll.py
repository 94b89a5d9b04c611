"""Negative log-likelihood of test points, its gap to the entropy, and its gap to the NLL of training points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import special, stats

import trilemma

Array = NDArray[np.float64]
Interval = tuple[float, float | None, float | None]


def mean_nll(log_prob: Array) -> Interval:
    """Mean of `-log_prob` and its t-interval; `(inf, None, None)` if the density is 0 at a point."""
    if np.isneginf(log_prob).any():
        return math.inf, None, None
    return trilemma.mean_interval(-log_prob)


def gap_to_entropy(*, log_prob: Array, true_log_prob: Array) -> Interval:
    """E[log p - log q], the Kullback-Leibler divergence KL(p | q) in nats, with its paired t-interval.

    Both arrays `(n,)` hold log-densities at the same points, drawn from p. The choice of points changes both terms
    alike, so the difference has less variance than an NLL.
    """
    return mean_nll(log_prob - true_log_prob)


def density_mass(*, log_prob: Array, true_log_prob: Array) -> Interval:
    """The mass of the model on the support of p, E_p[q / p], by importance sampling at points drawn from p.

    It is at most 1 for a normalized density; a value well above 1 means that the likelihood is wrong. It is an estimate
    that is too low if q / p has heavy tails, because a finite sample misses them.
    """
    return trilemma.mean_interval(np.exp(log_prob - true_log_prob))


GAP_PER_COORDINATE = 0.05  # nats per coordinate: a larger generalization gap is taken as memorization
LOW_DIMENSIONAL = 5  # most coordinates at which a wide mixture covers the density of any model well enough


def wide_proposal(points: Array, n: int, seed: int = 0) -> tuple[Array, Array]:
    """`n` draws of a wide mixture of Gaussians about `points` (m, d), and their log-density: `(n, d)` and `(n,)`.

    One third of the mass each has components with the covariance of all points, a quarter of it, and a twenty-fifth of
    it, so that the mixture has mass between and around the data.
    """
    rng = np.random.default_rng(seed)
    centers = points[rng.choice(len(points), min(len(points), 300), replace=False)]
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(points.T)) + 1e-12 * np.eye(points.shape[1]))
    scales = np.array([1.0, 0.5, 0.2])
    pick = rng.choice(scales, n)
    noise = rng.standard_normal((n, points.shape[1]))
    draws = centers[rng.integers(len(centers), size=n)] + pick[:, None] * noise @ factor.T
    whitened = np.linalg.solve(factor, (draws[:, None] - centers[None]).reshape(-1, points.shape[1]).T).T
    square = (whitened**2).sum(1).reshape(n, -1)
    d = points.shape[1]
    constant = -d / 2 * math.log(2 * math.pi) - float(np.log(np.diag(factor)).sum())
    parts = [constant - d * math.log(s) - square / (2 * s**2) for s in scales]
    return draws, special.logsumexp(np.stack(parts), axis=(0, 2)) - math.log(len(scales) * len(centers))


def generalization_gap(*, test: Array, train: Array) -> Interval:
    """Mean NLL of test points minus mean NLL of training points, with Welch's interval, from log-densities `(n,)`."""
    if np.isneginf(test).any():
        return math.inf, None, None
    value = float(train.mean() - test.mean())
    if min(len(test), len(train)) < 2 or (np.ptp(test) == 0 and np.ptp(train) == 0):
        return value, None, None
    interval = stats.ttest_ind(train, test, equal_var=False).confidence_interval(0.95)
    return value, float(interval.low), float(interval.high)


class Nll(trilemma.Metric):
    """Negative log-likelihood of test points, in nats for vectors and in bits per dimension for images.

    `nll_gap` is the NLL minus the entropy, as a paired difference, where the true density is known.
    `generalization_gap` is the NLL of test points minus the NLL of training points; it is large for a model that has
    memorized the training points. The likelihood kind is part of each result.
    """

    name = "nll"
    stage = "likelihood"
    quantities = (
        trilemma.Quantity(name="nll", title="NLL", unit="nats", group="likelihood", place="first"),
        trilemma.Quantity(
            name="nll_gap", title="NLL − entropy", unit="nats", group="likelihood", place="first", least=0.0
        ),
        trilemma.Quantity(
            name="generalization_gap", title="Generalization gap", unit="nats", group="likelihood", better="none"
        ),
    )

    class Config(trilemma.Config):
        """Sizes of the point sets."""

        n: int = Field(2000, ge=2, description="test points, and training points for the generalization gap")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        """Raises UnsupportedError for models without a likelihood."""
        test = evaluation.log_prob("test", min(self.config.n, evaluation.size("test")))
        n = len(test)
        details: dict[str, Any] = dict(evaluation.likelihood_details)
        image = evaluation.dataset.levels is not None
        if image:
            details["bound"] = "uniform dequantization bound"
        if np.isneginf(test).any():
            details["points_without_mass"] = int(np.isneginf(test).sum())
        elif not evaluation.dataset.has_density and evaluation.dim <= LOW_DIMENSIONAL:
            details |= _mass_by_wide_proposal(evaluation, n)
        unit = "bits/dim" if image else "nats"
        scale = 1 / (evaluation.dim * math.log(2)) if image else 1.0

        true = evaluation.true_log_prob("test", n)
        nll, nll_gap, gap = self.quantities
        shared = {"likelihood": evaluation.likelihood, "n": n}

        def result(quantity: trilemma.Quantity, interval: Interval, scale: float, **fields: Any) -> trilemma.Result:
            value, low, high = (None if bound is None else bound * scale for bound in interval)
            assert value is not None
            return quantity.result(value, evaluation.dim, low=low, high=high, **{**shared, **fields})

        # If the entropy is known, nll_gap takes the place of nll in the main table.
        place = nll.place if true is None else "more"
        floor = None if true is None else -scale * float(true.mean())
        results = [result(nll, mean_nll(test), scale, unit=unit, floor=floor, place=place, details=details)]
        if true is not None:
            mass, low, high = density_mass(log_prob=test, true_log_prob=true)
            extra = {"entropy": evaluation.dataset.entropy, "mass": mass, "mass_ci": [low, high]}
            interval = gap_to_entropy(log_prob=test, true_log_prob=true)
            results.append(result(nll_gap, interval, 1.0, floor=0.0, details=details | extra))

        equal = min(n, evaluation.size("train"))
        train = evaluation.log_prob("train", equal)
        interval = generalization_gap(test=test[:equal], train=train)
        # The gap has no direction: it is also 0 for a model that has learned nothing.
        about = details | {"memorizes": _memorizes(interval, evaluation.dim)}
        floor = None
        if true is not None:
            true_train = evaluation.true_log_prob("train", equal)
            floor = None if true_train is None else scale * float(true_train.mean() - true[:equal].mean())
        results.append(result(gap, interval, scale, unit=unit, floor=floor, n=equal, details=about))
        return results


def _memorizes(gap: Interval, dim: int) -> bool:
    """Whether a generalization gap in nats is large enough to be taken as memorization."""
    value, low, _ = gap
    return value > GAP_PER_COORDINATE * dim and (value if low is None else low) > 0


def _mass_by_wide_proposal(evaluation: trilemma.Evaluation, n: int) -> dict[str, Any]:
    """The total mass of the model, by importance sampling from a mixture about the training points.

    It is used if the true density is not known.
    """
    train = evaluation.dataset.splits.train
    draws, log_proposal = wide_proposal(train.flatten(1).double().numpy(), n)
    log_prob = evaluation.log_prob_at(torch.from_numpy(draws).reshape(n, *train.shape[1:]))
    mass, low, high = density_mass(log_prob=log_prob, true_log_prob=log_proposal)
    return {"mass": mass, "mass_ci": [low, high]}
