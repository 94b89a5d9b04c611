"""What sampling and training cost."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.metrics.cost import SamplingCost, TrainingCost


def test_sampling_cost_counts_evaluations_and_flops(known: Any) -> None:
    found = known.results(SamplingCost(), known.evaluate(known.Gauss(), known.Normal()))
    assert found["nfe"].value == 3
    assert found["flops_per_sample"].value == 3 * 2 * 2 * 2, "two FLOPs for each weight and evaluation"
    assert "randn" in " ".join(found["flops_per_sample"].details["uncounted"])
    assert found["peak_memory"].value >= found["peak_memory"].details["before"] > 0


def test_models_that_mark_no_network_have_no_nfe(known: Any) -> None:
    assert "nfe" not in known.results(SamplingCost(), known.evaluate(known.Blind(), known.Normal()))


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
