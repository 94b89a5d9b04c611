"""Alpha-precision, beta-recall and authenticity: fidelity, diversity and originality, to be read together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .precision_recall import squared_radii
from .samples import DrawsConfig, check_pair, squared_distances
from .two_sample import TwoSample

Array = NDArray[np.float64]


def alpha_precision(*, real: Array, generated: Array) -> float:
    """Integrated alpha-precision 1 - 2 int |P(alpha) - alpha| dalpha (Alaa et al. 2022, eq. 7 and 9).

    Each set has shape `(n, d)`. P(alpha) is the share of generated points in the ball around the mean of the real
    points that holds the share alpha of the real points. The value is 1 if the generated points have the same
    distances to the center as the real points. Samples that are too far out and samples that are too far in both lower
    it. Raises DataError or DivergedError for sets that cannot be compared.
    """
    check_pair(real, generated)
    center = real.mean(0)
    return _agreement(_ranks(((real - center) ** 2).sum(1), ((generated - center) ** 2).sum(1)))


def beta_recall(*, real: Array, generated: Array, k: int = 5) -> float:
    """Integrated beta-recall 1 - 2 int |R(beta) - beta| dbeta (Alaa et al. 2022, eq. 8 and 9).

    R(beta) is the share of real points whose nearest generated point meets two conditions: it is nearer than the k-th
    real neighbor of the real point, and it lies in the ball around the mean of the generated points that holds the
    share beta of those nearest points. Raises DataError or DivergedError for sets that cannot be compared, DataError
    for k >= n.
    """
    check_pair(real, generated)
    if k >= len(real):
        raise trilemma.DataError(f"{len(real)} points have no {k}-th nearest neighbor; use fewer than {len(real)}")
    distances, nearest = _nearest(real, generated)
    within = distances <= squared_radii(real, k)
    from_center = ((generated - generated.mean(0)) ** 2).sum(1)[nearest]
    positions = np.where(within, _ranks(from_center, from_center), np.inf)
    return _agreement(positions)


def authenticity(*, generated: Array, train: Array) -> float:
    """Share of generated points `(n, d)` that are not copies of training points (Alaa et al. 2022, section 3.3).

    A generated point is a copy if its distance to the nearest training point is at most the distance from that training
    point to its own nearest training point. Raises DataError or DivergedError for sets that cannot be compared.
    """
    check_pair(train, generated, equal=False)
    distances, nearest = _nearest(generated, train)
    hit, where = np.unique(nearest, return_inverse=True)
    apart = np.concatenate([np.partition(block, 1, axis=1)[:, 1] for block in squared_distances(train[hit], train)])
    return float((distances > apart[where]).mean())


def _nearest(points: Array, others: Array) -> tuple[Array, NDArray[np.int64]]:
    """For each point: the squared distance to the nearest of `others`, and the index of that one."""
    blocks = [(block.min(1), block.argmin(1)) for block in squared_distances(points, others)]
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])


def _ranks(reference: Array, values: Array) -> Array:
    """For each value: the smallest share of sorted `reference` that reaches it; infinite for values above all of it."""
    position = np.searchsorted(np.sort(reference), values, side="left")
    return np.where(position < len(reference), (position + 1) / len(reference), np.inf)


def _agreement(positions: Array, levels: int = 200) -> float:
    """1 - 2 int |F(t) - t| dt over [0, 1] by the midpoint rule, where F is the distribution function of `positions`."""
    t = (np.arange(levels) + 0.5) / levels
    share = np.searchsorted(np.sort(positions), t, side="right") / len(positions)
    return float(1 - 2 * np.abs(share - t).mean())


class AlphaPrecision(TwoSample):
    """Alpha-precision (fidelity), beta-recall (diversity) and authenticity (share of samples that are not copies).

    Read the three together. Alpha-precision orders scales correctly in all dimensions. Beta-recall ranks no models,
    because from three dimensions on it prefers a distribution that is slightly too narrow. A model that memorizes the
    training points has the best precision and recall, but no authenticity. Pure noise has full authenticity, but poor
    precision and recall.
    """

    name = "alpha_precision"
    floor_budget = 1e6
    quantities = (
        trilemma.Quantity(name="alpha_precision", title="α-precision", group="quality", better="higher", place="more"),
        trilemma.Quantity(
            name="beta_recall",
            title="β-recall",
            group="coverage",
            better="higher",
            place="more",
            ranks=False,
        ),
        trilemma.Quantity(name="authenticity", title="Authenticity", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets and of the neighborhoods."""

        n: int = Field(1000, ge=10, description="points per sample set; fewer where the held-out data has fewer")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        k: int = Field(5, ge=1, description="a real point is recalled if a sample is nearer than its k-th neighbor")
        train: int = Field(
            5_000, ge=2, description="training points among which authenticity looks for the originals of copies"
        )

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        train = evaluation.train_points()[: self.config.train]
        return {
            "alpha_precision": alpha_precision(real=real, generated=generated),
            "beta_recall": beta_recall(real=real, generated=generated, k=self.config.k),
            "authenticity": authenticity(generated=generated, train=train),
        }

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, int]:
        return {"k": self.config.k, "train": min(self.config.train, evaluation.size("train"))}
