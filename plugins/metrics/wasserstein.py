"""Wasserstein distances, exact and sliced, raw and corrected for what finite samples add to them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, SampleSets, check_pair
from .transport import squared_w2, w1
from .two_sample import READABLE_UP_TO, Quantity, TwoSample, summary

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
    """V = P - (F_real + F_model) / 2 of each draw, from (squared) distances.

    F_real and F_model are the self-distances of independent draws of the same size, so that the bias of a finite
    sample, which rewards distributions that are too narrow, cancels.
    """
    return model - float(real_self.mean() + model_self.mean()) / 2


class CorrectedDistance(TwoSample):
    """A distance `<prefix>` and its correction `<prefix>_excess`, both of order `power`.

    The first is the root of a mean of `powered`, biased upwards by a finite n: it can rank a distribution that is too
    narrow above the true one. Models are ranked by the second. `below_floor` flags a model that is nearer to the real
    sets than they are to each other.
    """

    prefix: ClassVar[str]
    power: ClassVar[int] = 2
    unit: ClassVar[str] = "data units"
    symmetric = True
    quantities = (Quantity("powered"),)

    @abstractmethod
    def powered(self, real: Array, generated: Array) -> float:
        """The distance to the power `power`."""

    @abstractmethod
    def primary(self, dim: int) -> bool:
        """Whether this distance is the one to read in `dim` dimensions."""

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return {"powered": self.powered(real, generated)}

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = SampleSets.of(evaluation, self.config.n, self.config.draws)
        return self.corrected(sets, self.over(sets.pairs, evaluation), self.floors(sets, evaluation), evaluation)

    def corrected(
        self,
        sets: SampleSets,
        values: list[Mapping[str, float]],
        floors: list[Mapping[str, float]],
        evaluation: trilemma.Evaluation,
    ) -> list[trilemma.Result]:
        """The distance and its correction from `compare` of the pairs and of the real pairs."""
        model, real_self, model_self = (
            np.array([value["powered"] for value in found])
            for found in (values, floors, self.over(sets.model_pairs, evaluation))
        )
        p, f_real, f_model = (float(values.mean()) for values in (model, real_self, model_self))
        details = self.details(evaluation) | {"P": p, "F_real": f_real, "F_model": f_model}
        details["primary"] = self.primary(evaluation.dim)
        powered = summary(Quantity(self.prefix, self.unit), list(model), list(real_self), sets, details)
        raw = powered.model_copy(
            update={
                "value": self._root(p),
                "ci_low": self._bound(powered.ci_low),
                "ci_high": self._bound(powered.ci_high),
                "floor": self._root(f_real),
                "details": powered.details | {"floor_ci": [self._bound(b) for b in powered.details["floor_ci"]]},
            }
        )
        if not evaluation.independent_draws:
            # The same held-out points at each draw: they vary by nothing, and say nothing of how a distribution differs
            # from it.
            return [raw.model_copy(update={"ci_low": None, "ci_high": None})]
        corrected = summary(
            Quantity(f"{self.prefix}_excess", f"{self.unit}^2" if self.unit and self.power == 2 else self.unit),
            list(excess(model, real_self, model_self)),
            [0.0],
            sets,
            details | {"below_floor": p < f_real},
        )
        return [raw, corrected]

    def _root(self, value: float) -> float:
        root: float = max(value, 0.0) ** (1 / self.power)
        return root

    def _bound(self, value: float | None) -> float | None:
        return None if value is None else self._root(value)


class Wasserstein(CorrectedDistance):
    """Exact Wasserstein distance of order 2 (optimal transport under squared Euclidean cost)."""

    name = "wasserstein"
    prefix = "w2"

    def powered(self, real: Array, generated: Array) -> float:
        return squared_w2(real=real, generated=generated)

    def primary(self, dim: int) -> bool:
        return dim <= READABLE_UP_TO


class Wasserstein1(CorrectedDistance):
    """Exact Wasserstein distance of order 1 (optimal transport under Euclidean cost)."""

    name = "wasserstein1"
    prefix = "w1"
    power = 1

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

        n: int = Field(1000, ge=2, description="points per sample set; fewer where the held-out data has fewer")

    def powered(self, real: Array, generated: Array) -> float:
        return w1(real=real, generated=generated)

    def primary(self, dim: int) -> bool:
        return dim <= READABLE_UP_TO


class SlicedWasserstein(CorrectedDistance):
    """Sliced Wasserstein distance of order 2, over fixed projections: to be read above ten dimensions."""

    name = "sliced_wasserstein"
    prefix = "sliced_w2"

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the projections."""

        projections: int = Field(200, ge=1, description="number of random directions, the same each time")

    def powered(self, real: Array, generated: Array) -> float:
        directions = fixed_directions(real.shape[1], self.config.projections)
        return squared_sliced_w2(real=real, generated=generated, directions=directions)

    def primary(self, dim: int) -> bool:
        return dim > READABLE_UP_TO
