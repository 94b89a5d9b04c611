"""Conditional restoration of test points: against models that lose a known part of a point."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.metrics.restoration import Restoration


class Shrinks(trilemma.Model):
    """Halves points, and brings them back with the factor `back`."""

    name = "shrinks"
    accepts = ("vector", "image")

    def __init__(self, back: float) -> None:
        super().__init__()
        self.back, self.seen = back, torch.empty(0)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        raise AssertionError("restoration needs no samples")

    def degrade(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return 0.5 * x

    def restore(self, degraded: Tensor, ctx: trilemma.Context) -> Tensor:
        self.seen = degraded
        return self.back * degraded


@pytest.mark.parametrize("back", [2.0, 1.5, 1.0])
def test_error_and_distance_of_points_that_stay_too_small(known: Any, back: float) -> None:
    # Of N(1, 4 I) about its mean, (1 - back / 2) is lost, so the RMSE is 2 (1 - back / 2).
    model = Shrinks(back)
    found = known.results(Restoration(), known.evaluate(model, known.Normal()))
    rmse, energy = found["restoration_rmse"], found["restoration_energy"]
    assert rmse.value == pytest.approx(2 * (1 - back / 2), abs=0.06)
    assert rmse.ci_low is not None
    assert rmse.ci_high is not None
    assert rmse.ci_low <= rmse.value <= rmse.ci_high
    assert rmse.details["degraded_rmse"] == pytest.approx(1, abs=0.06)
    # In two dimensions E|X - Y| of N(0, s^2 I) and N(0, t^2 I) is sqrt(pi (s^2 + t^2) / 2).
    scale = back
    expected = math.sqrt(math.pi / 2) * (2 * math.sqrt(4 + scale**2) - math.sqrt(8) - math.sqrt(2 * scale**2))
    assert energy.value == pytest.approx(expected, abs=0.03)
    assert energy.floor == pytest.approx(0, abs=0.03)
    assert model.seen.shape == (1000, 2)


def test_images_are_restored_to_levels_and_compared_in_unit_range(known: Any) -> None:
    found = known.results(Restoration(), known.evaluate(Shrinks(2.0), known.Levels()))
    assert found["restoration_rmse"].value == 0
    assert found["restoration_rmse"].details["degraded_rmse"] > 0.1


def test_models_that_degrade_nothing_are_unsupported(known: Any) -> None:
    class Plain(Shrinks):
        degrade = trilemma.Model.degrade

    with pytest.raises(trilemma.UnsupportedError, match="degrades no points"):
        Restoration().compute(known.evaluate(Plain(1.0), known.Normal()))
