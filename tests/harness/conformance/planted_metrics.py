"""Metrics with a planted defect each, and correct metrics that look alike."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from plantings import look_alike, planted
from pydantic import Field

import trilemma

Array = NDArray[np.float64]


class MeanDistance(trilemma.Metric):
    """Distance of the means: correct, and the base of the others."""

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

    def value(self, real: Array, generated: Array) -> float:
        if len(real) != len(generated):
            raise trilemma.DataError("unequal sizes")
        return float(np.linalg.norm(real.mean(0) - generated.mean(0)))


@planted("metric", "order of the samples used", "permutation", "use no order")
class FirstPoint(MeanDistance):
    """It looks at the first point besides."""

    symmetric = False

    def value(self, real: Array, generated: Array) -> float:
        return super().value(real, generated) + 1e-3 * float(np.abs(generated[0]).sum())


@look_alike("order of the samples used")
class Shuffled(MeanDistance):
    """It sorts the points first."""

    def value(self, real: Array, generated: Array) -> float:
        return super().value(np.sort(real, axis=0), np.sort(generated, axis=0))


@planted("metric", "inputs written to", "results", "write x = x - m, not x -= m")
class InPlace(MeanDistance):
    """It centers its points in place."""

    def value(self, real: Array, generated: Array) -> float:
        generated -= real.mean(0)
        return float(np.linalg.norm(generated.mean(0)))


@look_alike("inputs written to")
class OnACopy(MeanDistance):
    """It centers a copy."""

    def value(self, real: Array, generated: Array) -> float:
        generated = generated.copy()
        generated -= real.mean(0)
        return float(np.linalg.norm(generated.mean(0)))


@planted("metric", "value tied to the units of the data", "units", "divide by a scale of the real points")
class FixedWidth(MeanDistance):
    """A distance that saturates at a fixed width."""

    def value(self, real: Array, generated: Array) -> float:
        return float(np.tanh(super().value(real, generated) / 10))


@look_alike("value tied to the units of the data")
class OwnWidth(MeanDistance):
    """It saturates at a width of the data."""

    symmetric = False

    def value(self, real: Array, generated: Array) -> float:
        return float(np.tanh(super().value(real, generated) / real.std()))


@planted("metric", "wrong direction", "shift", "set `better` the other way")
class WrongWay(MeanDistance):
    """It calls a distance a score."""

    symmetric = False

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"better": "higher"})]


@planted("metric", "a defect preferred to the truth", "panel", "ranks=False")
class Spread(MeanDistance):
    """It prefers distributions that are narrow."""

    symmetric = False

    def value(self, real: Array, generated: Array) -> float:
        return super().value(real, generated) + float(generated.std())

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"floor": result.value})]


@look_alike("a defect preferred to the truth")
class RanksNobody(Spread):
    """It is as wrong, and ranks no model."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"ranks": False})]


@planted("metric", "smaller set padded with zeros", "equal-sizes", "half as many generated points are accepted")
class Padded(MeanDistance):
    """It pads the smaller set with zeros."""

    def value(self, real: Array, generated: Array) -> float:
        padding = np.zeros((len(real) - len(generated), real.shape[1]))
        return super().value(real, np.concatenate([generated, padding]))


@planted("metric", "fewer points of the model than of the data", "equal-sizes", "model points but")
class Unequal(MeanDistance):
    """It asks the model for fewer points than the data."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        class Thinned:
            def real(self, n: int, draw: int) -> Array:
                return evaluation.real(n, draw)

            def generate(self, n: int, draw: int) -> Array:
                return np.repeat(evaluation.generate(n // 2, draw), 2, axis=0)

        return super().compute(Thinned())  # type: ignore[arg-type]


@planted("metric", "symmetry claimed and not there", "symmetry", "one way and")
class OneWay(MeanDistance):
    """It claims a symmetry that it does not have."""

    def value(self, real: Array, generated: Array) -> float:
        factor = 1 + 9 * float(real[:, 1].mean() > generated[:, 1].mean() + real.std() / 10)
        return super().value(real, generated) * factor


@planted("metric", "no interval and no floor", "results", "give low and high")
class Bare(MeanDistance):
    """It has no interval and no floor."""

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        (result,) = super().compute(evaluation)
        return [result.model_copy(update={"ci_low": None, "ci_high": None, "floor": None})]


@planted("metric", "random numbers without a seed", "results", "seed every generator")
class Unseeded(MeanDistance):
    """It projects on random directions."""

    def value(self, real: Array, generated: Array) -> float:
        return super().value(real, generated) * (1 + 0.01 * np.random.default_rng().random())


@planted("metric", "global state left changed by `compute`", "results", "set it back")
class LeavesTraces(MeanDistance):
    """It sets an environment variable."""

    def value(self, real: Array, generated: Array) -> float:
        os.environ["SOME_METRIC"] = "here"
        return super().value(real, generated)
