"""The Wasserstein metrics: excess, floor, intervals, units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import trilemma
from trilemma.plugins.metrics.wasserstein import SlicedWasserstein, Wasserstein, Wasserstein1

Array = NDArray[np.float64]


def test_the_excess_orders_scales_and_is_nearly_zero_for_the_distribution(known: Any) -> None:
    config = Wasserstein.Config(n=500, draws=4)
    found = {
        s: known.results(Wasserstein(config), known.evaluate(known.Gauss(known.Gauss.Config(scale=s)), known.Normal()))
        for s in (0.6, 1.0, 1.4)
    }
    exact = found[1.0]
    assert exact["w2"].value == pytest.approx(exact["w2"].floor, rel=0.25)
    assert abs(exact["w2_excess"].value) < 0.05
    for scale in (0.6, 1.4):
        closed_form = 2 * (2 * (1 - scale)) ** 2
        assert found[scale]["w2_excess"].value == pytest.approx(closed_form, rel=0.3)
        assert found[scale]["w2"].value > found[scale]["w2"].floor
    for result in exact.values():
        assert result.ci_low < result.value < result.ci_high
        assert result.n == 500


def test_few_held_out_points_leave_one_real_draw_and_no_interval_on_the_floor(known: Any) -> None:
    found = known.results(Wasserstein(Wasserstein.Config(draws=2)), known.evaluate(known.Gauss(), known.Levels()))
    assert found["w2"].n == 269
    assert found["w2"].details["floor_ci"] == [None, None]
    assert found["w2_excess"].details["reference"] == "shared"
    assert math.isfinite(found["w2_excess"].value)


def test_a_control_that_has_the_held_out_points_to_give_is_at_the_floor_and_has_no_excess(known: Any) -> None:
    class Held(known.Gauss):
        """Draws from the truth, which of real data is the validation split."""

        needs_truth = True

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            assert ctx.truth is not None
            return ctx.truth.sample(n, ctx.generator)

    found = known.results(Wasserstein(Wasserstein.Config(draws=2)), known.evaluate(Held(), known.Levels()))
    assert set(found) == {"w2"}
    assert found["w2"].value == pytest.approx(found["w2"].floor)
    assert found["w2"].ci_low is None


def test_samples_that_are_not_finite_are_diverged(known: Any) -> None:
    class Broken(known.Gauss):
        name = "broken"

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            return torch.full((n, 2), torch.nan)

    with pytest.raises(trilemma.DivergedError):
        Wasserstein().compute(known.evaluate(Broken(), known.Normal()))


def test_w1_and_its_excess_have_the_units_of_the_data(known: Any) -> None:
    results = Wasserstein1(Wasserstein1.Config(n=200, draws=3)).compute(known.replay(known.Normals()))
    assert [(r.metric, r.unit) for r in results] == [("w1", "data units"), ("w1_excess", "data units")]
    assert results[0].value == results[0].details["P"]


def test_floors_are_computed_once_for_each_dataset(monkeypatch: pytest.MonkeyPatch, known: Any) -> None:
    calls = []
    squared = SlicedWasserstein.powered

    def counting(self: SlicedWasserstein, real: Array, generated: Array) -> float:
        calls.append(1)
        return squared(self, real, generated)

    monkeypatch.setattr(SlicedWasserstein, "powered", counting)
    dataset, config = known.Mixture(), SlicedWasserstein.Config(n=100, draws=3)
    counts = []
    for seed in (0, 1):
        SlicedWasserstein(config).compute(known.replay(dataset, seed))
        counts.append(len(calls))
    assert counts == [3 + 3 + 40, 46 + 3 + 3], "20 sets, each with the next two"
