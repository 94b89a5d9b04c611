"""The base class of metrics that compare a real set with a generated set: values and floors over several draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

import trilemma

from .samples import DrawsConfig, Pair, SampleSets

Array = NDArray[np.float64]

# Floors do not depend on the model, so all sampler settings of a cell share them.
_floors: WeakKeyDictionary[trilemma.Dataset, dict[tuple[str, int, int, str], list[Mapping[str, float]]]] = (
    WeakKeyDictionary()
)


READABLE_UP_TO = 10
"""The number of dimensions up to which nearest neighbors and exact transport can be read. Above it, they favor
distributions that are too narrow at any feasible n.
"""


class TwoSample(trilemma.Metric):
    """Base class of metrics that compare a real set with a generated set. A subclass gives `quantities` and `compare`.

    The value is the mean over the draws, with its t-interval. The floor is the mean over pairs of real sets.
    """

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

    @abstractmethod
    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        """The value of each quantity for one pair of sets, without the quantities that are not defined for it."""

    def details(self, evaluation: trilemma.Evaluation) -> dict[str, Any]:
        """Settings to store with the results."""
        return {}

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        sets = SampleSets.of(evaluation, self.config.n, self.config.draws)
        values = self.over(sets.pairs, evaluation)
        floors = self.floors(sets, evaluation)
        return [
            summary(
                quantity,
                [value[quantity.name] for value in values],
                [floor[quantity.name] for floor in floors],
                sets,
                self.details(evaluation),
                evaluation.dim,
            )
            for quantity in self.quantities
            if all(quantity.name in value for value in values)
        ]

    def over(self, pairs: list[Pair], evaluation: trilemma.Evaluation) -> list[Mapping[str, float]]:
        """The values of `compare` for each pair."""
        return [self.compare(real, generated, evaluation) for real, generated in pairs]

    def floors(self, sets: SampleSets, evaluation: trilemma.Evaluation) -> list[Mapping[str, float]]:
        """The values of `compare` for each pair of real sets, cached as long as the dataset exists."""
        known = _floors.setdefault(evaluation.dataset, {})
        key = (self.name, sets.n, len(sets.generated), self.config.model_dump_json())
        if key not in known:
            known[key] = self.over(sets.real_pairs, evaluation)
        return known[key]


def summary(
    quantity: trilemma.Quantity,
    values: list[float],
    floors: list[float],
    sets: SampleSets,
    details: dict[str, Any],
    dim: int,
) -> trilemma.Result:
    """The result of one quantity, from its values over the draws and its values between real sets."""
    value, low, high = trilemma.mean_interval(values)
    floor, floor_low, floor_high = trilemma.mean_interval(floors)
    about = {
        "draws": len(values),
        "reference": "fresh" if sets.fresh else "shared",
        "floor_ci": [floor_low, floor_high],
        **details,
    }
    return quantity.result(value, dim, low=low, high=high, floor=floor, n=sets.n, details=about)
