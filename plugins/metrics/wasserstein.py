"""The Wasserstein distance of order 2, exact and sliced, raw and corrected for what finite samples add to it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma
from trilemma.plugins.metrics.samples import DrawsConfig, SampleSets, check_pair
from trilemma.plugins.metrics.transport import squared_w2
from trilemma.plugins.metrics.two_sample import Quantity, TwoSample, summary

Array = NDArray[np.float64]


def squared_sliced_w2(*, real: Array, generated: Array, directions: Array) -> float:
    """Mean over `directions` (d, k), unit columns, of the squared W2 of the projected sets, each `(n, d)`.

    Bonneel et al. 2015. Raises DataError or DivergedError for sets that cannot be compared.
    """
    check_pair(real, generated)
    difference = np.sort(real @ directions, axis=0) - np.sort(generated @ directions, axis=0)
    return float((difference**2).mean())


def fixed_directions(d: int, count: int) -> Array:
    """The same `count` random unit vectors each time, as columns `(d, count)`."""
    directions = np.random.default_rng(0).standard_normal((d, count))
    directions /= np.linalg.norm(directions, axis=0)
    return directions


def excess(model: Array, real_self: Array, model_self: Array) -> Array:
    """V = P - (F_real + F_model) / 2 of each draw, from squared distances.

    F_real and F_model are the self-distances of independent draws of the same size, so that the bias of a finite
    sample, which rewards laws that are too narrow, cancels.
    """
    return model - float(real_self.mean() + model_self.mean()) / 2


class CorrectedDistance(TwoSample):
    """Root of the mean squared distance `<prefix>`, and the corrected squared distance `<prefix>_excess`.

    The first is biased upwards by a finite n and can rank a law that is too narrow above the true one; models are
    ranked by the second. `below_floor` flags a model that is nearer to the real sets than they are to each other.
    """

    prefix: ClassVar[str]
    quantities = (Quantity("squared", "data units^2"),)

    @abstractmethod
    def squared(self, real: Array, generated: Array) -> float:
        """The squared distance."""

    @abstractmethod
    def primary(self, dim: int) -> bool:
        """Whether this distance is the one to read in `dim` dimensions."""

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return {"squared": self.squared(real, generated)}

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = SampleSets.of(evaluation, self.config.n, self.config.draws)
        model, real_self, model_self = (
            np.array([value["squared"] for value in values])
            for values in (
                self.over(sets.pairs, evaluation),
                self.floors(sets, evaluation),
                self.over(sets.model_pairs, evaluation),
            )
        )
        p, f_real, f_model = (float(values.mean()) for values in (model, real_self, model_self))
        details = {"P": p, "F_real": f_real, "F_model": f_model, "primary": self.primary(evaluation.dim)}
        squared = summary(Quantity(self.prefix, "data units"), list(model), list(real_self), sets, details)
        raw = squared.model_copy(
            update={
                "value": math.sqrt(p),
                "ci_low": _root(squared.ci_low),
                "ci_high": _root(squared.ci_high),
                "floor": math.sqrt(f_real),
                "details": squared.details | {"floor_ci": [_root(bound) for bound in squared.details["floor_ci"]]},
            }
        )
        corrected = summary(
            Quantity(f"{self.prefix}_excess", "data units^2"),
            list(excess(model, real_self, model_self)),
            [0.0],
            sets,
            details | {"below_floor": p < f_real},
        )
        return [raw, corrected]


class Wasserstein(CorrectedDistance):
    """Exact Wasserstein distance of order 2 (optimal transport under squared Euclidean cost)."""

    name = "wasserstein"
    prefix = "w2"

    def squared(self, real: Array, generated: Array) -> float:
        return squared_w2(real=real, generated=generated)

    def primary(self, dim: int) -> bool:
        return dim <= 10


class SlicedWasserstein(CorrectedDistance):
    """Sliced Wasserstein distance of order 2, over fixed projections: to be read above ten dimensions."""

    name = "sliced_wasserstein"
    prefix = "sliced_w2"

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the projections."""

        projections: int = Field(200, ge=1, description="number of random directions, the same each time")

    def squared(self, real: Array, generated: Array) -> float:
        directions = fixed_directions(real.shape[1], self.config.projections)
        return squared_sliced_w2(real=real, generated=generated, directions=directions)

    def primary(self, dim: int) -> bool:
        return dim > 10


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(max(value, 0.0))
