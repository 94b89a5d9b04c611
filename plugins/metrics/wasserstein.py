"""Wasserstein distances, exact and sliced, raw and corrected for the bias of finite samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, SampleSets, check_pair
from .transport import squared_w2, w1
from .two_sample import BLOCKS, READABLE_UP_TO, TwoSample, jackknife_interval, rings, summary

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


def excess(model: Array, real_self: Array, model_self: Array) -> float:
    """The excess V = P - (F_real + F_model) / 2, from distances or squared distances.

    P is the mean distance between real and generated sets. F_real and F_model are the mean distances between two real
    sets and between two generated sets of the same size. Finite samples bias P in favor of distributions that are too
    narrow; in V this bias cancels.
    """
    return float(model.mean() - (real_self.mean() + model_self.mean()) / 2)


def distance_and_excess(
    name: str, title: str, *, power: int = 2, unit: str = "data units", place: Place = "main", **dimensions: int
) -> tuple[trilemma.Quantity, trilemma.Quantity]:
    """The two quantities of a corrected distance: `name` and `name`_excess.

    The distance ranks no models, because it can prefer a distribution that is too narrow to the true one.
    """
    squared = f"{unit}^2" if unit and power == 2 else unit
    return (
        trilemma.Quantity(name=name, title=title, unit=unit, group="quality", place=place, ranks=False, **dimensions),
        trilemma.Quantity(
            name=f"{name}_excess",
            title=f"{title} excess V",
            unit=squared,
            group="quality",
            place=place,
            least=0,
            **dimensions,
        ),
    )


class CorrectedDistance(TwoSample):
    """Base class of distances with a correction: the distance, and its excess to the power `power`.

    The distance is the root of the mean of `powered`. It is biased upwards at finite n, and it can prefer a
    distribution that is too narrow to the true one. Models are therefore ranked by the excess. The detail `below_floor`
    says that the generated sets are nearer to the real sets than the real sets are to each other.

    Where real sets are fresh, the interval of the excess is the jackknife over draws. The excess without a draw closes
    the circles of pairs again, so that what one set adds to all of its distances cancels in it. On real data the
    interval is the jackknife over blocks of points of all sets, if `resampled`.
    """

    power: ClassVar[int] = 2
    symmetric = True
    resampled = True
    floor_budget = 3e6
    quantities: ClassVar[tuple[trilemma.Quantity, ...]]
    """The distance, and its excess."""

    @abstractmethod
    def powered(self, real: Array, generated: Array) -> float:
        """The distance between two sets `(n, d)`, to the power `power`."""

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return {"powered": self.powered(real, generated)}

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = self.sets(evaluation)
        return self.corrected(sets, self.over(sets.pairs, evaluation), evaluation)

    def corrected(
        self, sets: SampleSets, values: list[Mapping[str, float]], evaluation: trilemma.Evaluation
    ) -> list[trilemma.Result]:
        """The distance and its excess, from the values of `compare` for `sets.pairs`."""
        model = np.array([value["powered"] for value in values])
        floors = {pair: value["powered"] for pair, value in self.floors(sets, evaluation).items()}
        distance, its_excess = self.quantities[:2]
        p, floor = float(model.mean()), float(np.mean(list(floors.values())))
        if not evaluation.independent_draws:
            # Each draw is the same set of points, so there is no interval and no self-distance F_model.
            details = self.details(evaluation) | {"P": p}
            return [self._rooted(summary(distance, list(model), floors, sets, details, evaluation.dim))]
        v, (low, high), f_real, f_model = self._excess(sets, model, floors, evaluation)
        details = self.details(evaluation) | {"P": p, "F_real": f_real, "F_model": f_model}
        raw = self._rooted(summary(distance, list(model), floors, sets, details, evaluation.dim))
        how = "jackknife over draws" if sets.fresh else raw.details["interval"]
        if not sets.fresh and self.resampled:
            how = "over blocks of points"
        corrected = its_excess.result(
            v,
            evaluation.dim,
            low=low,
            high=high,
            floor=0.0,
            n=sets.n,
            details={**raw.details, "floor_ci": [0.0, 0.0], "interval": how, "below_floor": p < floor},
        )
        return [raw, corrected]

    def _excess(
        self,
        sets: SampleSets,
        model: Array,
        floors: Mapping[tuple[int, int], float],
        evaluation: trilemma.Evaluation,
    ) -> tuple[float, tuple[float | None, float | None], float, float]:
        """V with its interval, F_real and F_model."""
        count = len(model)
        whole, parts = rings(count)
        of_model = {pair: self._between(sets.generated, pair, evaluation) for pair in {*whole, *chain(*parts)}}

        def mean(values: Mapping[tuple[int, int], float], pairs: Sequence[tuple[int, int]]) -> Array:
            return np.array([values[pair] for pair in pairs])

        if not sets.fresh:
            f_real, f_model = np.array(list(floors.values())), mean(of_model, whole)
            v = excess(model, f_real, f_model)
            bounds: tuple[float | None, float | None] | None = None
            if self.resampled:
                bounds = self._over_blocks(sets, v, evaluation)
            if bounds is None:
                bounds = trilemma.mean_interval(model - (f_real.mean() + f_model.mean()) / 2)[1:]
            return v, bounds, float(f_real.mean()), float(f_model.mean())
        needed = self.between_real(sets, sorted({*whole, *chain(*parts)}), evaluation)
        of_real = {pair: value["powered"] for pair, value in needed.items()}
        f_real, f_model = mean(of_real, whole), mean(of_model, whole)
        v = excess(model, f_real, f_model)
        without = [
            excess(np.delete(model, left), mean(of_real, part), mean(of_model, part)) for left, part in enumerate(parts)
        ]
        bounds = jackknife_interval(v, without) if without else trilemma.mean_interval(model - model.mean() + v)[1:]
        return v, bounds, float(f_real.mean()), float(f_model.mean())

    def _over_blocks(
        self, sets: SampleSets, value: float, evaluation: trilemma.Evaluation
    ) -> tuple[float, float] | None:
        """The interval of V by the jackknife over blocks of points of all sets; None for very few points."""
        if sets.n < 2 * BLOCKS:
            return None
        whole, _ = rings(len(sets.generated))
        without = []
        for block in range(BLOCKS):
            part = sets.without(block, BLOCKS)
            p = np.array([value["powered"] for value in self.over(part.pairs, evaluation)])
            f_real = np.array([self._between(part.real, pair, evaluation) for pair in part.real_pairs])
            f_model = np.array([self._between(part.generated, pair, evaluation) for pair in whole])
            without.append(excess(p, f_real, f_model))
        return jackknife_interval(value, without)

    def _between(self, sets: list[Array], pair: tuple[int, int], evaluation: trilemma.Evaluation) -> float:
        return self.over([(sets[pair[0]], sets[pair[1]])], evaluation)[0]["powered"]

    def _rooted(self, powered: trilemma.Result) -> trilemma.Result:
        """The distance, from the result for its power."""
        ends = {"ci_low": self._bound(powered.ci_low), "ci_high": self._bound(powered.ci_high)}
        details = powered.details | {"floor_ci": [self._bound(bound) for bound in powered.details["floor_ci"]]}
        floor = None if powered.floor is None else self._root(powered.floor)
        return powered.model_copy(
            update={"value": self._root(powered.value), "floor": floor, "details": details} | ends
        )

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
    floor_budget = 1e7
    quantities = distance_and_excess("sliced_w2", "Sliced W₂", least_dim=READABLE_UP_TO + 1)

    class Config(DrawsConfig):
        """Sizes of the sample sets, and the projections."""

        projections: int = Field(200, ge=1, description="number of random directions, the same each time")

    def powered(self, real: Array, generated: Array) -> float:
        directions = fixed_directions(real.shape[1], self.config.projections)
        return squared_sliced_w2(real=real, generated=generated, directions=directions)
