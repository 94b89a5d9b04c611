"""Parts that all metrics of samples share: checks of the input, sizes, and sample sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

Array = NDArray[np.float64]
Pair = tuple[Array, Array]


class DrawsConfig(trilemma.Config):
    """Sizes of the sample sets."""

    n: int = Field(2000, ge=2, description="points per sample set; fewer where the held-out data has fewer")
    draws: int = Field(6, ge=2, description="independent sample sets drawn from the model")


def check_pair(real: Array, generated: Array, *, equal: bool = True) -> None:
    """Raise an error for sets that no metric can compare.

    Raises DataError if the sets are not `(n, d)` with one d and n >= 2, if they differ in size (with `equal`), or if
    `real` is not finite, and DivergedError if `generated` is not finite. Every metric calls it first, because solvers
    of optimal transport return 0 for NaN.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise trilemma.DataError(
            f"real points of shape {real.shape} and generated points of shape {generated.shape} cannot be compared: "
            "both must be (n, d) with the same d"
        )
    if min(len(real), len(generated)) < 2:
        raise trilemma.DataError(
            f"{min(len(real), len(generated))} points are too few for a metric: give at least 2 points per set"
        )
    if equal and len(real) != len(generated):
        raise trilemma.DataError(
            f"{len(real)} real and {len(generated)} generated points: the bias of this metric depends on n, so both "
            "sets need the same size"
        )
    if not np.isfinite(real).all():
        raise trilemma.DataError("some real points are not finite: check the dataset for infinite and missing values")
    if not np.isfinite(generated).all():
        bad = int((~np.isfinite(generated).all(axis=1)).sum())
        raise trilemma.DivergedError(f"{bad} of {len(generated)} generated points are not finite")


@dataclass(frozen=True)
class SampleSets:
    """Sets of `n` points each: real sets, of which the first is the reference, and sets drawn from the model.

    If the true distribution can be sampled, `fresh` is true: each model set is compared with a real set of its own.
    The pairs are independent, so an interval over them covers the variation of both sets. There can be more real sets
    than model sets, for the floor. Otherwise all model sets are compared with the one reference, and the other real
    sets are parts of the validation split and are used for the floor alone.
    """

    real: list[Array]
    generated: list[Array]
    fresh: bool

    @classmethod
    def of(cls, evaluation: trilemma.Evaluation, n: int, draws: int, budget: float = 0) -> SampleSets:
        """Draw `draws` model sets, and as many real sets as the held-out data allows, of at most `n` points each.

        `budget` is how many distances between points the floor may take where real sets are fresh: there are `budget` /
        n^2 real sets then, at least `draws` and at most 20.
        """
        n = min(n, evaluation.size("test"))
        if not evaluation.real_draws(n):
            n = min(n, evaluation.size("valid"))
        fresh = evaluation.dataset.has_density
        if not evaluation.independent_draws:
            draws = 1  # further draws hold the same points
        others = max(draws, min(_MOST_REAL_SETS, int(budget / n**2))) - 1 if fresh else draws
        real = [evaluation.real(n, draw) for draw in range(1 + min(others, evaluation.real_draws(n)))]
        return cls(real, [evaluation.generate(n, draw) for draw in range(draws)], fresh)

    @property
    def n(self) -> int:
        """Points per set."""
        return len(self.real[0])

    @property
    def pairs(self) -> list[Pair]:
        """Pairs of a real set and a generated set, one for each model draw."""
        reference = self.real if self.fresh else [self.real[0]] * len(self.generated)
        return list(zip(reference, self.generated, strict=False))

    @property
    def real_pairs(self) -> list[tuple[int, int]]:
        """Pairs of real sets for the floor, by number: each set with the next two, or the reference with each other."""
        return circle(len(self.real)) if self.fresh else [(0, other) for other in range(1, len(self.real))]

    def without(self, block: int, blocks: int) -> SampleSets:
        """The sets without one of `blocks` blocks of points: the same rows of all sets."""
        edges = np.linspace(0, self.n, blocks + 1).astype(int)
        rows = np.r_[0 : edges[block], edges[block + 1] : self.n]
        return SampleSets([part[rows] for part in self.real], [part[rows] for part in self.generated], self.fresh)


_MOST_REAL_SETS = 20


def circle(count: int) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of each of `count` members of a circle with the next and with the one after that."""
    return sorted({(min(i, j), max(i, j)) for i in range(count) for j in ((i + 1) % count, (i + 2) % count) if i != j})


def squared_distances(x: Array, y: Array, rows: int = 500) -> Iterator[Array]:
    """Yield blocks of rows of |x_i - y_j|^2, by one matrix product each, to bound memory. Each block is a new array."""
    center = x.mean(0)
    x, y = x - center, y - center
    norms = (y * y).sum(1)
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        block = (part * part).sum(1)[:, None] + norms - 2 * part @ y.T
        yield np.maximum(block, 0, out=block)


def distances(x: Array, y: Array) -> Array:
    """Euclidean distances `(n, m)` between the rows of two sets, by matrix products."""
    found: Array = np.sqrt(np.concatenate(list(squared_distances(x, y))))
    return found
