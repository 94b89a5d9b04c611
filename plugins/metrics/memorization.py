"""A metric of memorization: whether a model reproduces its training points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.neighbors import NearestNeighbors

import trilemma

from .samples import DrawsConfig, SampleSets, check_pair

Array = NDArray[np.float64]


def nearness(*, points: Array, train: Array, held_out: Array) -> Array:
    """For each of `points` (n, d): distance to the nearest training point over distance to the nearest held-out point.

    The shape is `(n,)`. For points that are independent of both sets, this ratio has the same distribution wherever the
    points lie. It is smaller only if a model has learned single training points. Raises DataError or DivergedError for
    sets that cannot be compared.
    """
    check_pair(train, points, equal=False)
    check_pair(held_out, points, equal=False)
    to_train, to_held_out = (
        NearestNeighbors(n_neighbors=1).fit(others).kneighbors(points)[0][:, 0] for others in (train, held_out)
    )
    ratio: Array = to_train / np.maximum(to_held_out, np.finfo(np.float64).tiny)
    return ratio


class Memorization(trilemma.Metric):
    """Memorization: the share of samples that are nearer to training points than nearly all real points are.

    The threshold is a quantile of the nearness of real points, where nearness is the distance to the nearest training
    point over the distance to the nearest held-out point. A model that has memorized nothing gives `quantile`, a model
    that reproduces training points gives 1. The detail `memorizes` says whether the interval lies above twice
    `quantile`.
    """

    name = "memorization"
    quantities = (trilemma.Quantity(name="memorized", title="Memorized", group="quality", better="none", place="more"),)

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the threshold."""

        quantile: float = Field(
            0.05, gt=0, lt=1, description="share of real points whose nearness lies below the threshold"
        )

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = SampleSets.of(evaluation, self.config.n, self.config.draws)
        train, (held_out, *others) = evaluation.train_points(), sets.real
        real = np.concatenate([nearness(points=points, train=train, held_out=held_out) for points in others])
        mark = np.quantile(real, self.config.quantile)
        value, low, high = trilemma.mean_interval(
            [(nearness(points=points, train=train, held_out=held_out) < mark).mean() for points in sets.generated]
        )
        floor = float((real < mark).mean())
        return [
            self.quantities[0].result(
                value,
                evaluation.dim,
                low=low,
                high=high,
                floor=floor,
                n=sets.n,
                details={
                    "draws": len(sets.generated),
                    "train": len(train),
                    "quantile": self.config.quantile,
                    "memorizes": low is not None and low > 2 * self.config.quantile,
                },
            )
        ]
