"""The base class of metrics that compare a real set with a generated set: values and floors over several draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

import trilemma

from .samples import DrawsConfig, Pair, SampleSets

Array = NDArray[np.float64]
Interval = tuple[float, float | None, float | None]
Values = dict[tuple[int, int], Mapping[str, float]]

# Values between real sets do not depend on the model, so all sampler settings of a cell share them.
_between_real: WeakKeyDictionary[trilemma.Dataset, dict[tuple[str, int, str], Values]] = WeakKeyDictionary()

BLOCKS = 10
"""The number of blocks of points of which a jackknife leaves out one at a time."""

READABLE_UP_TO = 10
"""The number of dimensions up to which nearest neighbors and exact transport can be read. Above it, they favor
distributions that are too narrow at any feasible n.
"""


class TwoSample(trilemma.Metric):
    """Base class of metrics that compare a real set with a generated set. A subclass gives `quantities` and `compare`.

    The value is the mean over the draws. Where real sets are fresh, its interval is the t-interval over draws. The
    floor is the mean over pairs of real sets, with an interval over the sets.
    """

    floor_budget: ClassVar[float] = 1e7
    """The number of distances that the floor may take where real sets are fresh. It decides the number of sets."""
    resampled: ClassVar[bool] = False
    """True if intervals on real data come from a jackknife over blocks of points of all sets, so that they count the
    reference too. It takes ten times as long. Otherwise the interval is conditional on the reference.
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
        sets = self.sets(evaluation)
        values = self.over(sets.pairs, evaluation)
        floors = self.floors(sets, evaluation)
        parts = []
        if self.resampled and not sets.fresh and sets.n >= 2 * BLOCKS:
            parts = [self.over(sets.without(block, BLOCKS).pairs, evaluation) for block in range(BLOCKS)]
        return [
            summary(
                quantity,
                [value[quantity.name] for value in values],
                {pair: floor[quantity.name] for pair, floor in floors.items()},
                sets,
                self.details(evaluation),
                evaluation.dim,
                without=[float(np.mean([value[quantity.name] for value in part])) for part in parts],
            )
            for quantity in self.quantities
            if all(quantity.name in value for value in values)
        ]

    def sets(self, evaluation: trilemma.Evaluation) -> SampleSets:
        """The sets to compare."""
        return SampleSets.of(evaluation, self.config.n, self.config.draws, self.floor_budget)

    def over(self, pairs: list[Pair], evaluation: trilemma.Evaluation) -> list[Mapping[str, float]]:
        """The values of `compare` for each pair."""
        return [self.compare(real, generated, evaluation) for real, generated in pairs]

    def floors(self, sets: SampleSets, evaluation: trilemma.Evaluation) -> Values:
        """The values of `compare` for the pairs of real sets of the floor, by the numbers of the two sets."""
        return self.between_real(sets, sets.real_pairs, evaluation)

    def between_real(
        self, sets: SampleSets, pairs: Sequence[tuple[int, int]], evaluation: trilemma.Evaluation
    ) -> Values:
        """The values of `compare` for pairs of real sets, given by number, cached as long as the dataset exists."""
        known = _between_real.setdefault(evaluation.dataset, {})
        values = known.setdefault((self.name, sets.n, self.config.model_dump_json()), {})
        for i, j in pairs:
            if (i, j) not in values:
                values[i, j] = self.over([(sets.real[i], sets.real[j])], evaluation)[0]
        return {pair: values[pair] for pair in pairs}


def summary(
    quantity: trilemma.Quantity,
    values: list[float],
    floors: Mapping[tuple[int, int], float],
    sets: SampleSets,
    details: dict[str, Any],
    dim: int,
    *,
    without: Sequence[float] = (),
) -> trilemma.Result:
    """The result of one quantity, from its values over the draws and its values between real sets.

    `without` are the values without one block of points each, for an interval that counts the reference. The values of
    an unbiased quantity are skewed near the true distribution: a low mean comes with a low deviation, and its interval
    would be too narrow. Their deviation is therefore taken to be at least that between real sets.
    """
    from scipy.special import stdtrit

    value, low, high = trilemma.mean_interval(values)
    noise = None
    if sets.fresh and quantity.unbiased and len(values) > 1:
        at_truth = float(np.std(list(floors.values()), ddof=1)) / np.sqrt(len(values)) if len(floors) > 1 else 0.0
        half = float(stdtrit(len(values) - 1, 0.975)) * at_truth
        if low is not None and high is not None:
            low, high = min(low, value - half), max(high, value + half)
        noise = half or None
    if without:
        low, high = jackknife_interval(value, without)
    floor, floor_low, floor_high = floor_interval(floors, sets)
    about = {
        "draws": len(values),
        "reference": "fresh" if sets.fresh else "shared",
        "interval": "over draws" if sets.fresh else "over blocks of points" if without else "given the reference",
        "floor_ci": [floor_low, floor_high],
        "floor_pairs": len(floors),
        **details,
    }
    return quantity.result(value, dim, low=low, high=high, floor=floor, n=sets.n, noise=noise, details=about)


def jackknife_interval(value: float, without: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval around a value by the jackknife: `without` are the values without each of the blocks in turn.

    Near the true distribution distances are degenerate, and the interval is wider than it needs to be.
    """
    from scipy.special import stdtrit

    blocks = len(without)
    deviation = float(np.std(without)) * np.sqrt(blocks - 1)
    half = float(stdtrit(blocks - 1, (1 + level) / 2)) * deviation
    return value - half, value + half


def floor_interval(floors: Mapping[tuple[int, int], float], sets: SampleSets) -> Interval:
    """The mean of values between real sets, by the numbers of the two sets, and its interval.

    Fresh sets are each in several pairs, so the interval is the jackknife over the sets. Otherwise it is over pairs.
    """
    if not sets.fresh or len(floors) < 2 or len(sets.real) < 4:
        return trilemma.mean_interval(list(floors.values()))
    value = float(np.mean(list(floors.values())))
    without = [
        float(np.mean([floor for pair, floor in floors.items() if left not in pair])) for left in range(len(sets.real))
    ]
    return value, *jackknife_interval(value, without)


def rings(count: int) -> tuple[list[tuple[int, int]], list[list[tuple[int, int]]]]:
    """The pairs of neighbors on a circle of `count` sets, and those on the circle without each set in turn.

    Each set has the same weight in all of these circles, so what a set adds to its distances cancels in V there.
    """
    whole = _ring(list(range(count)))
    return whole, [_ring([k for k in range(count) if k != left]) for left in range(count)] if count > 2 else []


def _ring(members: list[int]) -> list[tuple[int, int]]:
    pairs = zip(members, members[1:] + members[:1], strict=True)
    return [(min(pair), max(pair)) for pair in pairs] if len(members) > 2 else [(members[0], members[1])]
