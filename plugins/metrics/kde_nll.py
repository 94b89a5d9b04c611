"""A likelihood estimate from samples alone, compared with the same estimate from real points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, check_pair, squared_distances
from .two_sample import TwoSample, summary

Array = NDArray[np.float64]

UNBIASED_UP_TO = 4
"""In more dimensions, kernels widen samples so much that samples of nine tenths of the true scale are preferred."""

BANDWIDTHS = np.geomspace(0.01, 1.2, 15)


def kde_nll(*, real: Array, generated: Array, bandwidths: Array = BANDWIDTHS) -> float:
    """Mean NLL in nats of `real` (m, d) under a Gaussian kernel density estimate at `generated` (n, d).

    The bandwidth is the one of `bandwidths` under which the generated points have the largest leave-one-out likelihood
    (Duin 1976). A bandwidth chosen by real points would hide that a model distribution is too narrow. Raises DataError
    or DivergedError for sets that cannot be compared.
    """
    check_pair(real, generated, equal=False)
    n, d = generated.shape
    scores = np.zeros(len(bandwidths))
    start = 0
    for block in squared_distances(generated, generated):
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        start += len(block)
        for j, width in enumerate(bandwidths):
            scores[j] += _log_kernel_sums(block, float(width)).sum()
    scores -= n * d * np.log(bandwidths)
    best = float(bandwidths[int(np.argmax(scores))])
    log_prob = np.concatenate([_log_kernel_sums(block, best) for block in squared_distances(real, generated)])
    log_prob -= math.log(n) + d * math.log(best) + d / 2 * math.log(2 * math.pi)
    return float(-log_prob.mean())


def _log_kernel_sums(squared: Array, width: float) -> Array:
    """log sum_j exp(-squared_ij / (2 width^2))."""
    least = squared.min(1, keepdims=True)
    exponents = (least - squared) / (2 * width**2)
    sums: Array = np.log(np.exp(exponents).sum(1)) - least[:, 0] / (2 * width**2)
    return sums


class KdeNll(TwoSample):
    """NLL of test points under a kernel density estimate from the model's samples.

    It is an estimate for models that have samples but no likelihood. Smoothing makes it too high, so do not compare it
    with a likelihood of another kind. The floor is the same estimate from as many real points, and `kde_nll_excess` is
    the difference between the two. Coordinates are divided by the standard deviations of the training points. Raises
    UnsupportedError for data of discrete levels.
    """

    name = "kde_nll"
    floor_budget = 1e6
    quantities = (
        trilemma.Quantity(
            name="kde_nll", title="KDE NLL", unit="nats", group="likelihood", place="more", most_dim=UNBIASED_UP_TO
        ),
        trilemma.Quantity(
            name="kde_nll_excess",
            title="KDE NLL excess",
            unit="nats",
            group="likelihood",
            place="more",
            most_dim=UNBIASED_UP_TO,
        ),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

        n: int = Field(1000, ge=10, description="points per sample set; fewer where the held-out data has fewer")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        if evaluation.dataset.levels is not None:
            raise trilemma.UnsupportedError(f"'{evaluation.dataset.name}' has intensity levels, which have no density")
        scale = evaluation.train_points().std(0)
        volume = float(np.log(scale).sum()) + evaluation.log_unit
        return {"kde_nll": kde_nll(real=real / scale, generated=generated / scale) + volume}

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = self.sets(evaluation)
        values = [value["kde_nll"] for value in self.over(sets.pairs, evaluation)]
        floors = {pair: value["kde_nll"] for pair, value in self.floors(sets, evaluation).items()}
        oracle = float(np.mean(list(floors.values())))
        details: dict[str, Any] = {
            "method": "Gaussian KDE of the samples, bandwidth by leave-one-out likelihood",
            "oracle": oracle,
            "entropy": evaluation.dataset.entropy,
        }
        results = [
            summary(self.quantities[0], values, floors, sets, details, evaluation.dim),
            summary(self.quantities[1], [v - oracle for v in values], {(0, 0): 0.0}, sets, details, evaluation.dim),
        ]
        return [result.model_copy(update={"likelihood": "estimate"}) for result in results]
