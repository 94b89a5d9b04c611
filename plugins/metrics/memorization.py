"""Whether a model replays its training points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.neighbors import NearestNeighbors

import trilemma

from .samples import DrawsConfig, SampleSets, check_pair

Array = NDArray[np.float64]


def nearness(*, points: Array, train: Array, held_out: Array) -> Array:
    """Distance to the nearest training point over that to the nearest held-out point, for each of `points`, `(n,)`.

    For points that are independent of both sets the ratio has the same distribution, wherever they lie: it falls only
    where a model knows single training points. Raises DataError or DivergedError for sets that cannot be compared.
    """
    check_pair(train, points, equal=False)
    check_pair(held_out, points, equal=False)
    to_train, to_held_out = (
        NearestNeighbors(n_neighbors=1).fit(others).kneighbors(points)[0][:, 0] for others in (train, held_out)
    )
    ratio: Array = to_train / np.maximum(to_held_out, np.finfo(np.float64).tiny)
    return ratio


class Memorization(trilemma.Metric):
    """Share of samples that are nearer to the training points than all but a few real points would be.

    `nearness` of independent real points sets the mark, at its `quantile`; that quantile is what a model that has
    memorized nothing gives. A model that replays training points gives 1. `memorizes` flags an interval above twice
    the floor.
    """

    name = "memorization"
    quantities = (trilemma.Quantity(name="memorized", title="Memorized", group="quality", better="none", place="more"),)

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the mark."""

        quantile: float = Field(0.05, gt=0, lt=1, description="share of real points that lie below the mark")

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
