"""The checks of a metric: what is right passes, and each kind of mistake fails the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import Field

import trilemma

Failed = Callable[[type[Any]], set[str]]


class MeanDistance(trilemma.Metric):
    """Distance of the means, whose square is unbiased."""

    name = "mean-distance"
    symmetric = True

    class Config(trilemma.Config):
        """Sizes."""

        n: int = Field(500, ge=2, description="points")
        draws: int = Field(6, ge=2, description="sample sets")

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        n, draws = self.config.n, self.config.draws
        values = [self.value(evaluation.real(n, k), evaluation.generate(n, k)) for k in range(draws)]
        floors = [self.value(evaluation.real(n, k), evaluation.real(n, k + 1)) for k in range(draws)]
        value, low, high = trilemma.mean_interval(values)
        floor = trilemma.mean_interval(floors)[0]
        return [trilemma.Result(metric=self.name, value=value, ci_low=low, ci_high=high, floor=floor, n=n)]

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        if len(real) != len(generated):
            raise trilemma.DataError("unequal sizes")
        return float(np.linalg.norm(real.mean(0) - generated.mean(0)))


class FirstPoint(MeanDistance):
    """It looks at the first point alone."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) + float(np.tanh(generated[0]).sum())


class Padded(MeanDistance):
    """It pads the smaller set with zeros."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        padding = np.zeros((len(real) - len(generated), 2))
        return super().value(real, np.concatenate([generated, padding]))


class OneWay(MeanDistance):
    """It claims a symmetry that it does not have."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) * (1 + 9 * float(real[:, 1].mean() > generated[:, 1].mean()))


class Spread(MeanDistance):
    """It prefers distributions that are narrow."""

    def value(self, real: np.ndarray, generated: np.ndarray) -> float:
        return super().value(real, generated) + float(generated.std())


class Bare(MeanDistance):
    """It has no interval and no floor."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"ci_low": None, "ci_high": None, "floor": None})]


class Unequal(MeanDistance):
    """It asks the model for fewer points than the data."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        class Thinned:
            def real(self, n: int, draw: int) -> np.ndarray:
                return evaluation.real(n, draw)

            def generate(self, n: int, draw: int) -> np.ndarray:
                return np.repeat(evaluation.generate(n // 2, draw), 2, axis=0)

        return super().compute(Thinned())  # type: ignore[arg-type]


def test_a_metric_that_is_blind_to_the_width_passes(failed: Failed) -> None:
    assert failed(MeanDistance) == set(), "it sees less than others, but it prefers nothing to the truth"


def test_what_prefers_a_defect_is_told_what_to_change() -> None:
    (check,) = [check for check in trilemma.conformance_checks(Spread) if check.name == "panel"]
    message = check.run().message
    for part in ("mean-distance prefers 'narrower' (0.8)", "'16d' (16 dimensions)", "ranks=False", "least_dim"):
        assert part in message


class Undirected(Spread):
    """It is as wrong, and does not claim to rank."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"ranks": False})]


def test_a_number_that_ranks_nobody_may_prefer_defects(failed: Failed) -> None:
    assert "panel" not in failed(Undirected)


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (FirstPoint, "permutation"),
        (Padded, "equal-sizes"),
        (OneWay, "symmetry"),
        (Spread, "panel"),
        (Bare, "results"),
        (Unequal, "equal-sizes"),
    ],
)
def test_each_mistake_of_a_metric_fails_its_check(cls: type[trilemma.Metric], check: str, failed: Failed) -> None:
    assert check in failed(cls)
