"""What sampling and training cost."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
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
    found = known.results(SamplingCost(), known.evaluate(known.Blind(), known.Normal()))
    assert "nfe" not in found
    assert found["flops_per_sample"].details["nfe"] == "the model marks no network"


def test_numbers_say_how_they_were_counted_and_what_they_leave_out(known: Any) -> None:
    found = known.results(SamplingCost(), known.evaluate(known.Gauss(), known.Normal()))
    assert found["nfe"].details["counted"] == "calls"
    assert "elementwise" in found["flops_per_sample"].details["not_counted"]
    assert "other processes" in found["peak_memory"].details["not_counted"]
    assert found["peak_memory"].details["batch"] == 1000


def test_memory_of_a_slow_sampler_is_measured_for_a_small_batch(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Normal())
    sizes: list[int] = []
    draw = evaluation.draw
    evaluation.draw = lambda n: (sizes.append(n), draw(n))
    metric = SamplingCost(SamplingCost.Config(work=10 * evaluation.work))
    assert known.results(metric, evaluation)["peak_memory"].details["batch"] == 10
    assert sizes == [10]


def test_contradictions_of_nfe_are_marked(known: Any) -> None:
    model = known.Gauss()
    model.hidden = nn.Sequential(nn.Linear(2, 50), nn.Linear(50, 2))
    forward = model.sample
    model.sample = lambda n, ctx: model.hidden(forward(n, ctx))
    (mark,) = known.results(SamplingCost(), known.evaluate(model, known.Normal()))["nfe"].marks
    assert mark.startswith("NFE at odds with FLOPs: 94% "), "400 FLOPs of 424"


def test_the_operations_of_a_model_are_counted_once(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Normal())
    calls: list[int] = []
    sample = evaluation.model.sample
    evaluation.model.sample = lambda n, ctx: (calls.append(n), sample(n, ctx))[1]
    assert evaluation.flops() == evaluation.flops()
    assert evaluation.work == evaluation.work
    assert len(calls) == 1


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


@pytest.mark.parametrize(
    ("spent", "budget", "over", "marks"),
    [
        (9.0, 10.0, 0.0, ()),
        (11.9, 10.0, 1.9, ()),
        (14.2, 10.0, 4.2, ("over budget: 14.2 s of 10 s",)),
        (1.9, 1.0, 0.9, ()),
        (2.5, 1.0, 1.5, ("over budget: 2.5 s of 1 s",)),
    ],
)
def test_a_training_that_passes_its_budget_says_by_how_much_and_is_marked_if_it_is_far(
    spent: float, budget: float, over: float, marks: tuple[str, ...], known: Any
) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Normal())
    evaluation.training = dataclasses.replace(evaluation.training, seconds=spent)
    evaluation.budget = trilemma.Budget(seconds=budget)
    found = known.results(TrainingCost(), evaluation)
    assert found["train_seconds"].details["over_budget_seconds"] == pytest.approx(over)
    assert found["train_seconds"].marks == marks
    assert not any(result.marks for name, result in found.items() if name != "train_seconds")


def test_neither_controls_nor_repeats_at_another_speed_are_over_budget(known: Any) -> None:
    class Control(known.Gauss):
        """A control."""

        name, control = "control", True

    for model, charged, over in ((Control(), None, 20), (known.Gauss(), 10.5, 0.5)):
        evaluation = known.evaluate(model, known.Normal())
        evaluation.training = dataclasses.replace(evaluation.training, seconds=30.0, charged=charged)
        evaluation.budget = trilemma.Budget(seconds=10)
        result = known.results(TrainingCost(), evaluation)["train_seconds"]
        assert result.details["over_budget_seconds"] == pytest.approx(over)
        assert result.marks == ()


def test_a_budget_in_steps_is_never_passed(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Normal())
    evaluation.budget = trilemma.Budget(steps=5)
    result = known.results(TrainingCost(), evaluation)["train_seconds"]
    assert "over_budget_seconds" not in result.details
    assert result.marks == ()
