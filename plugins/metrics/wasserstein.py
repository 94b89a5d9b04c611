"""Wasserstein distances, exact and sliced, raw and corrected for the bias of finite samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, SampleSets, check_pair
from .transport import squared_w2, w1
from .two_sample import READABLE_UP_TO, TwoSample, summary

Array = NDArray[np.float64]
Place = Literal["main", "more"]


def squared_sliced_w2(*, real: Array, generated: Array, directions: Array) -> float:
    """Squared sliced W2 of sets `(n, d)`: the mean squared W2 of their projections (Bonneel et al. 2015).

    The columns of `directions` (d, k) are unit vectors. Raises DataError or DivergedError for sets that cannot be
    compared.
    """
    check_pair(real, generated)
    difference = np.sort(real @ directions, axis=0) - np.sort(generated @ directions, axis=0)
    return float((difference**2).mean())


def fixed_directions(d: int, count: int) -> Array:
    """Random unit vectors as columns `(d, count)`, the same at each call."""
    directions = np.random.default_rng(0).standard_normal((d, count))
    directions /= np.linalg.norm(directions, axis=0)
    return directions


def excess(model: Array, real_self: Array, model_self: Array) -> Array:
    """The excess V = P - (F_real + F_model) / 2 of each draw, from distances or squared distances.

    P is the distance between real and generated sets. F_real and F_model are the distances between two real sets and
    between two generated sets of the same size. Finite samples bias P in favor of distributions that are too narrow;
    in V this bias cancels.
    """
    return model - float(real_self.mean() + model_self.mean()) / 2


def distance_and_excess(
    name: str, title: str, *, power: int = 2, unit: str = "data units", place: Place = "main", **dimensions: int
) -> tuple[trilemma.Quantity, trilemma.Quantity]:
    """The two quantities of a corrected distance: `name` and `name`_excess.

    In the main table the excess comes first in its group, because models are ranked by it.
    """
    squared = f"{unit}^2" if unit and power == 2 else unit
    return (
        trilemma.Quantity(name=name, title=title, unit=unit, group="quality", place=place, **dimensions),
        trilemma.Quantity(
            name=f"{name}_excess",
            title=f"{title} excess V",
            unit=squared,
            group="quality",
            place="first" if place == "main" else place,
            **dimensions,
        ),
    )


class CorrectedDistance(TwoSample):
    """Base class of distances with a correction: the distance, and its excess to the power `power`.

    The distance is the root of the mean of `powered`. It is biased upwards at finite n, and it can prefer a
    distribution that is too narrow to the true one. Models are therefore ranked by the excess. The detail `below_floor`
    says that the generated sets are nearer to the real sets than the real sets are to each other.
    """

    power: ClassVar[int] = 2
    symmetric = True
    quantities: ClassVar[tuple[trilemma.Quantity, ...]]
    """The distance, and its excess."""

    @abstractmethod
    def powered(self, real: Array, generated: Array) -> float:
        """The distance between two sets `(n, d)`, to the power `power`."""

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
        """The distance and its excess, from the values of `compare` for `sets.pairs` and for `sets.real_pairs`."""
        model, real_self, model_self = (
            np.array([value["powered"] for value in found])
            for found in (values, floors, self.over(sets.model_pairs, evaluation))
        )
        p, f_real, f_model = (float(values.mean()) for values in (model, real_self, model_self))
        details = self.details(evaluation) | {"P": p, "F_real": f_real, "F_model": f_model}
        distance, its_excess = self.quantities[:2]
        powered = summary(distance, list(model), list(real_self), sets, details, evaluation.dim)
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
            # Each draw is the same set of points, so there is no interval and no self-distance F_model.
            return [raw.model_copy(update={"ci_low": None, "ci_high": None})]
        corrected = summary(
            its_excess,
            list(excess(model, real_self, model_self)),
            [0.0],
            sets,
            details | {"below_floor": p < f_real},
            evaluation.dim,
        )
        return [raw, corrected]

    def _root(self, value: float) -> float:
        root: float = max(value, 0.0) ** (1 / self.power)
        return root

    def _bound(self, value: float | None) -> float | None:
        return None if value is None else self._root(value)


class Wasserstein(CorrectedDistance):
    """Exact Wasserstein distance of order 2: optimal transport under squared Euclidean cost."""

    name = "wasserstein"
    quantities = distance_and_excess("w2", "W₂", most_dim=READABLE_UP_TO)

    def powered(self, real: Array, generated: Array) -> float:
        return squared_w2(real=real, generated=generated)


class Wasserstein1(CorrectedDistance):
    """Exact Wasserstein distance of order 1: optimal transport under Euclidean cost."""

    name = "wasserstein1"
    power = 1
    quantities = distance_and_excess("w1", "W₁", power=1, place="more", most_dim=READABLE_UP_TO)

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

        n: int = Field(1000, ge=2, description="points per sample set; fewer where the held-out data has fewer")

    def powered(self, real: Array, generated: Array) -> float:
        return w1(real=real, generated=generated)


class SlicedWasserstein(CorrectedDistance):
    """Sliced Wasserstein distance of order 2, over fixed random projections. Use it above ten dimensions."""

    name = "sliced_wasserstein"
    quantities = distance_and_excess("sliced_w2", "Sliced W₂", least_dim=READABLE_UP_TO + 1)

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the projections."""

        projections: int = Field(200, ge=1, description="number of random directions, the same each time")

    def powered(self, real: Array, generated: Array) -> float:
        directions = fixed_directions(real.shape[1], self.config.projections)
        return squared_sliced_w2(real=real, generated=generated, directions=directions)
