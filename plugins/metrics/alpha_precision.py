"""Alpha-precision, beta-recall and authenticity: fidelity, diversity and originality, to be read together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .precision_recall import squared_radii
from .samples import DrawsConfig, check_pair, squared_distances
from .two_sample import READABLE_UP_TO, TwoSample

Array = NDArray[np.float64]


def alpha_precision(*, real: Array, generated: Array) -> float:
    """Integrated alpha-precision 1 - 2 int |P(alpha) - alpha| dalpha (Alaa et al. 2022, eq. 7 and 9).

    P(alpha) is the share of generated points, each set `(n, d)`, in the ball around the mean of the real points that
    holds the share alpha of them. 1: the generated points are spread about the center as the real ones; samples that
    are too far out and too far in are both marked down. Raises DataError or DivergedError.
    """
    check_pair(real, generated)
    center = real.mean(0)
    return _agreement(_ranks(((real - center) ** 2).sum(1), ((generated - center) ** 2).sum(1)))


def beta_recall(*, real: Array, generated: Array, k: int = 5) -> float:
    """Integrated beta-recall 1 - 2 int |R(beta) - beta| dbeta (Alaa et al. 2022, eq. 8 and 9).

    R(beta) is the share of real points whose nearest generated point lies within the real point's distance to its k-th
    real neighbor and in the ball around the mean of the generated points that holds the share beta of those nearest
    points. Raises DataError or DivergedError for sets that cannot be compared, DataError for k >= n.
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
    """Share of generated points `(n, d)` that are no copies (Alaa et al. 2022, section 3.3).

    A point is a copy where it is nearer to its nearest training point than that one is to any other. Raises DataError
    or DivergedError for sets that cannot be compared.
    """
    check_pair(train, generated, equal=False)
    distances, nearest = _nearest(generated, train)
    hit, where = np.unique(nearest, return_inverse=True)
    apart = np.concatenate([np.partition(block, 1, axis=1)[:, 1] for block in squared_distances(train[hit], train)])
    return float((distances > apart[where]).mean())


def _nearest(points: Array, others: Array) -> tuple[Array, NDArray[np.int64]]:
    """Squared distance to the nearest of `others`, and which it is, for each point."""
    blocks = [(block.min(1), block.argmin(1)) for block in squared_distances(points, others)]
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])


def _ranks(reference: Array, values: Array) -> Array:
    """The least share of `reference` that reaches to each value; infinite beyond all of them."""
    position = np.searchsorted(np.sort(reference), values, side="left")
    return np.where(position < len(reference), (position + 1) / len(reference), np.inf)


def _agreement(positions: Array, levels: int = 200) -> float:
    """1 - 2 int |F(t) - t| dt over [0, 1], F the distribution function of `positions`, by the midpoint rule."""
    t = (np.arange(levels) + 0.5) / levels
    share = np.searchsorted(np.sort(positions), t, side="right") / len(positions)
    return float(1 - 2 * np.abs(share - t).mean())


class AlphaPrecision(TwoSample):
    """Alpha-precision (fidelity), beta-recall (diversity) and authenticity (no copies of training points), jointly.

    None says much alone: a memorizer has the best precision and recall and no authenticity, noise is authentic.
    """

    name = "alpha_precision"
    quantities = (
        trilemma.Quantity(name="alpha_precision", title="α-precision", group="quality", better="higher", place="more"),
        trilemma.Quantity(
            name="beta_recall",
            title="β-recall",
            group="coverage",
            better="higher",
            place="more",
            most_dim=READABLE_UP_TO,
        ),
        trilemma.Quantity(name="authenticity", title="Authenticity", group="quality", better="none", place="more"),
    )

    class Config(DrawsConfig):
        """Sizes of the sample sets and of the neighborhoods."""

        n: int = Field(1000, ge=10, description="points per sample set; fewer where the held-out data has fewer")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        k: int = Field(5, ge=1, description="a real point is recalled within its distance to this neighbor")
        train: int = Field(5_000, ge=2, description="training points that authenticity looks for copies of")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        train = evaluation.train_points()[: self.config.train]
        return {
            "alpha_precision": alpha_precision(real=real, generated=generated),
            "beta_recall": beta_recall(real=real, generated=generated, k=self.config.k),
            "authenticity": authenticity(generated=generated, train=train),
        }

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, int]:
        return {"k": self.config.k, "train": min(self.config.train, evaluation.size("train"))}
