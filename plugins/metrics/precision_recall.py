"""Improved precision and recall, and density and coverage, which measure quality and coverage separately."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, check_pair, squared_distances
from .two_sample import TwoSample

Array = NDArray[np.float64]


def precision_recall(*, real: Array, generated: Array, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Each set has shape `(n, d)`. Each point has a ball that reaches to its k-th nearest neighbor in its own set.
    Precision is the share of generated points in a real ball, and recall the share of real points in a generated ball.
    Density is the mean number of real balls that hold a generated point, divided by k. Coverage is the share of real
    balls that hold a generated point. Distances are computed a block at a time, to bound memory. Raises DataError or
    DivergedError for sets that cannot be compared, DataError for k >= n.
    """
    check_pair(real, generated)
    if k >= len(real):
        raise trilemma.DataError(f"{len(real)} points have no {k}-th nearest neighbor; use fewer than {len(real)}")
    real_radii, generated_radii = squared_radii(real, k), squared_radii(generated, k)
    balls = np.zeros(len(generated))  # how many real balls hold each generated point
    recalled, covered = [], []
    start = 0
    for block in squared_distances(real, generated):
        radii = real_radii[start : start + len(block), None]
        start += len(block)
        inside = block < radii
        balls += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((block < generated_radii).any(1))
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(balls.mean() / k),
        "coverage": float(np.concatenate(covered).mean()),
    }


def squared_radii(points: Array, k: int) -> Array:
    """Squared distance of each point to its k-th nearest other point, shape `(n,)`."""
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in squared_distances(points, points)])


class PrecisionRecall(TwoSample):
    """Precision and density (quality), recall and coverage (coverage), by nearest-neighbor balls.

    Read them together. A distribution that is too narrow can have higher precision and density than the true one, so
    these two have no direction. One that is too wide has higher recall, so recall ranks no models. From three
    dimensions on, a distribution that is slightly too narrow can have higher coverage, so coverage ranks models of
    planar data alone.
    """

    name = "precision_recall"
    quantities = (
        trilemma.Quantity(name="precision", title="Precision", group="quality", better="none", place="more"),
        trilemma.Quantity(name="recall", title="Recall", group="coverage", better="higher", ranks=False),
        trilemma.Quantity(name="density", title="Density", group="quality", better="none", place="more"),
        trilemma.Quantity(name="coverage", title="Coverage", group="coverage", better="higher", most_dim=2),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets and of the balls."""

        k: int = Field(5, ge=1, description="the ball of a point reaches to its k-th nearest neighbor")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return precision_recall(real=real, generated=generated, k=self.config.k)

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, int]:
        return {"k": self.config.k}
