"""What sampling and training cost."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import trilemma
from trilemma.plugins.metrics import cost
from trilemma.plugins.metrics.cost import SamplingCost, TrainingCost


def test_sampling_cost_counts_evaluations_and_flops(known: Any) -> None:
    found = known.results(
        SamplingCost(SamplingCost.Config(seconds=0.05)), known.evaluate(known.Gauss(), known.Normal())
    )
    assert found["nfe"].value == 3
    assert found["flops_per_sample"].value == 3 * 2 * 2 * 2, "two FLOPs for each weight and evaluation"
    assert "randn" in " ".join(found["flops_per_sample"].details["uncounted"])
    throughput = found["seconds_per_1k"]
    assert 0 < throughput.ci_low < throughput.value < throughput.ci_high
    assert throughput.details["batch"] == 1000
    assert 0 < found["latency_p50"].value <= found["latency_p90"].value
    assert found["peak_memory"].value >= found["peak_memory"].details["before"] > 0


@pytest.mark.parametrize(("each", "least", "most"), [(0.0, 500, 1000), (2e-3, 64, 64)])
def test_the_batch_is_as_large_as_time_allows(each: float, least: int, most: int, known: Any) -> None:
    class Slow(known.Gauss):
        """Draws at a fixed cost for each call and a cost for each sample."""

        name = "slow"
        fixed, each = 0.02, 0.0

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            time.sleep(self.fixed + n * self.each)
            return super().sample(n, ctx)

    model = Slow()
    model.each = each
    found = known.results(SamplingCost(SamplingCost.Config(seconds=0.05)), known.evaluate(model, known.Normal()))
    throughput = found["seconds_per_1k"]
    batch = throughput.details["batch"]
    assert least <= batch <= most
    assert throughput.value == pytest.approx((0.02 + batch * each) * 1000 / batch, rel=0.3)
    assert throughput.details["contended"], "a process that sleeps gets less than its core"


def test_models_that_mark_no_network_have_no_nfe(known: Any) -> None:
    assert "nfe" not in known.results(
        SamplingCost(SamplingCost.Config(seconds=0.01)), known.evaluate(known.Blind(), known.Normal())
    )


def test_time_that_others_took_is_contended() -> None:
    wall = np.array([1.0, 1.0])
    assert not cost.Timing(wall, cpu=1.95).contended(threads=1)
    assert cost.Timing(wall, cpu=1.7).contended(threads=1)
    assert cost.Timing(wall, cpu=3.8).contended(threads=1)
    assert not cost.Timing(wall, cpu=3.8).contended(threads=2)


def test_quantile_intervals_cover() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        _, low, high = cost.quantile_interval(rng.exponential(size=60), 0.9)
        covered += low <= stats.expon.ppf(0.9) <= high
    assert covered / 300 >= 0.92
    assert cost.quantile_interval(np.arange(3.0), 0.9)[1:] == (None, None)


def test_training_cost_is_the_record_of_the_cell(known: Any) -> None:
    found = known.results(TrainingCost(), known.evaluate(known.Gauss(), known.Normal()))
    assert {name: result.value for name, result in found.items()} == {
        "train_seconds": 1.5,
        "train_steps": 10,
        "train_peak_memory": 2,
        "parameters": 4,
    }


class Linear(trilemma.NeuralModel):
    """One linear map, trained on its squared output."""

    name = "linear"

    def build(self, info: trilemma.DataInfo) -> None:
        self.net = nn.Linear(2, 8, bias=False)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.net(x).square().mean()

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.randn(n, 2, generator=ctx.generator)


def test_training_flops_are_those_of_one_step_times_the_steps(known: Any) -> None:
    evaluation = known.evaluate(Linear(), known.Normal())
    evaluation.model.build(evaluation.info)
    before = [p.clone() for p in evaluation.model.parameters()]
    assert "train_flops" not in known.results(TrainingCost(), evaluation), "no batch size, no steps: nothing to count"
    evaluation.training = dataclasses.replace(evaluation.training, batch_size=32)
    found = known.results(TrainingCost(), evaluation)["train_flops"]
    forward = 2 * 32 * 2 * 8
    assert found.value == 10 * 2 * forward, "backward: the weight's gradient alone, as the input needs none"
    assert "square" in " ".join(found.details["uncounted"]) or "pow" in " ".join(found.details["uncounted"])
    for parameter, old in zip(evaluation.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


def test_energy_is_an_estimate_and_only_where_a_power_is_given(known: Any) -> None:
    config = SamplingCost.Config(seconds=0.02, watts=30)
    found = known.results(SamplingCost(config), known.evaluate(known.Gauss(), known.Normal()))
    assert found["energy_per_1k_estimate"].value == pytest.approx(30 * found["seconds_per_1k"].value)
    assert found["energy_per_1k_estimate"].details["estimate"] == "power times time"
    assert "energy_per_1k_estimate" not in known.results(
        SamplingCost(SamplingCost.Config(seconds=0.02)), known.evaluate(known.Gauss(), known.Normal())
    )
