"""What every metric of samples shares: the checks of its input, its sizes, its sample sets."""

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
    """Refuse what no metric can compare.

    Raises DataError where the two sets differ in dimension, in size (if `equal`), are not `(n, d)` with n >= 2, or
    where `real` is not finite; DivergedError where `generated` is not finite. The check comes first on every path:
    solvers of optimal transport return 0 for NaN.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise trilemma.DataError(f"real {real.shape} and generated {generated.shape} are not both (n, d) with one d")
    if min(len(real), len(generated)) < 2:
        raise trilemma.DataError(f"{min(len(real), len(generated))} points are too few for a metric; at least 2")
    if equal and len(real) != len(generated):
        raise trilemma.DataError(
            f"{len(real)} real and {len(generated)} generated points: the bias of this metric depends on n, so both "
            "sets need the same size"
        )
    if not np.isfinite(real).all():
        raise trilemma.DataError("a real point is not finite")
    if not np.isfinite(generated).all():
        bad = int((~np.isfinite(generated).all(axis=1)).sum())
        raise trilemma.DivergedError(f"{bad} of {len(generated)} generated points are not finite")


@dataclass(frozen=True)
class SampleSets:
    """Sets of `n` points each: real ones, of which the first is the reference, and the model's.

    Of a distribution there is a fresh real set for each model draw: the pairs are independent of each other, and an
    interval over them speaks of the model. Otherwise (`fresh` is false) all draws meet the one reference, an interval
    is conditional on it, and the other real sets, parts of the validation split, serve the floor alone.
    """

    real: list[Array]
    generated: list[Array]
    fresh: bool

    @classmethod
    def of(cls, evaluation: trilemma.Evaluation, n: int, draws: int) -> SampleSets:
        """`draws` model sets of at most `n` points, as many as the held-out data allows, and as many real ones."""
        n = min(n, evaluation.size("test"))
        if not evaluation.real_draws(n):
            n = min(n, evaluation.size("valid"))
        fresh = evaluation.dataset.has_density
        others = min(draws - 1 if fresh else draws, evaluation.real_draws(n))
        real = [evaluation.real(n, draw) for draw in range(1 + others)]
        return cls(real, [evaluation.generate(n, draw) for draw in range(draws)], fresh)

    @property
    def n(self) -> int:
        """Points per set."""
        return len(self.real[0])

    @property
    def pairs(self) -> list[Pair]:
        """Real with generated, one pair for each model draw."""
        reference = self.real if self.fresh else [self.real[0]] * len(self.generated)
        return list(zip(reference, self.generated, strict=True))

    @property
    def real_pairs(self) -> list[Pair]:
        """Real with real: the floor."""
        return _neighbors(self.real) if self.fresh else [(self.real[0], other) for other in self.real[1:]]

    @property
    def model_pairs(self) -> list[Pair]:
        """Generated with generated, each draw once on either side."""
        return _neighbors(self.generated)


def _neighbors(sets: list[Array]) -> list[Pair]:
    """Each set with the next, the last with the first (two sets make one pair)."""
    return [(sets[k - 1], sets[k]) for k in range(len(sets)) if k or len(sets) > 2]


def squared_distances(x: Array, y: Array, rows: int = 500) -> Iterator[Array]:
    """Blocks of rows of |x_i - y_j|^2, by one matrix product each: bounds memory at any n. Each block is new."""
    center = x.mean(0)
    x, y = x - center, y - center
    norms = (y * y).sum(1)
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        block = (part * part).sum(1)[:, None] + norms - 2 * part @ y.T
        yield np.maximum(block, 0, out=block)
