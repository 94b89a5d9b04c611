"""NLL, Wasserstein and cost metrics on distributions and models with closed forms."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from scipy import stats
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import trilemma
from trilemma.harness.evaluation.cost import count_flops
from trilemma.harness.evaluation.evaluation import TrainingRecord
from trilemma.harness.evaluation.spaces import Space
from trilemma.harness.evaluation.truth import DatasetTruth
from trilemma.plugins.metrics import cost, nll, transport
from trilemma.plugins.metrics.cost import SamplingCost, TrainingCost
from trilemma.plugins.metrics.nll import Nll
from trilemma.plugins.metrics.wasserstein import Wasserstein


class Normal(trilemma.Distribution):
    """N(1, 4 I) in two dimensions."""

    name = "normal"

    class Config(trilemma.DistributionConfig):
        n_train: int = Field(600, description="training points")
        n_valid: int = Field(500, description="validation points")
        n_test: int = Field(1000, description="test points")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return 1 + 2 * torch.randn(n, 2, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(1.0, 2.0).log_prob(x.double()).sum(1)

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi * math.e * 4)


class Levels(trilemma.Dataset):
    """Two-pixel images of four equally likely levels, with few held-out points."""

    name = "levels"
    kind = "image"
    levels = 4

    def load(self) -> trilemma.Splits:
        parts = [torch.randint(4, (n, 1, 1, 2), generator=torch.Generator().manual_seed(n)) for n in (400, 269, 270)]
        return trilemma.Splits(*(part.to(torch.uint8) for part in parts))


class Gauss(trilemma.Model):
    """An isotropic Gaussian of fixed scale in model space, with a network that it evaluates three times."""

    name = "gauss"
    likelihood = "exact"

    class Config(trilemma.Config):
        scale: float = Field(1.0, description="standard deviation")

    def __init__(self, config: trilemma.Config | None = None) -> None:
        super().__init__(config)
        self.network = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.network.weight)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        x = self.config.scale * torch.randn(n, 2, generator=ctx.generator)
        for _ in range(3):
            x = self.network(x)
        return x

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        ctx.details["method"] = "closed form"
        return torch.distributions.Normal(0.0, self.config.scale).log_prob(x).sum(1)

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.network,)


class Box(Gauss):
    """The uniform distribution over all levels of `Levels`."""

    name = "box"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.full((len(x),), -2 * math.log(float(x.max() - x.min())))


class Blind(Gauss):
    name = "blind"
    likelihood = "none"
    log_prob = trilemma.Model.log_prob

    def networks(self) -> tuple[nn.Module, ...]:
        return ()


class Broken(Gauss):
    name = "broken"

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return torch.full((n, 2), torch.nan)


class OutOfReach(Gauss):
    """A density without mass at negative points."""

    name = "out-of-reach"

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return torch.where(x.min(1).values < 0, -torch.inf, 0.0)


def evaluate(model: trilemma.Model, dataset: trilemma.Dataset, seed: int = 0) -> trilemma.Evaluation:
    space = Space.fit(dataset, flatten=True)
    splits = dataset.splits
    info = trilemma.DataInfo(dataset.name, dataset.kind, (2,), len(splits.train), dataset.levels)
    record = TrainingRecord(seconds=1.5, wall_seconds=2.0, steps=10, peak_memory=2**21, parameters=4)
    truth = DatasetTruth(dataset, space)
    common = {"seed": seed, "device": torch.device("cpu"), "training": record, "truth": truth}
    return trilemma.Evaluation(model, dataset, space, info, **common)


def results(metric: trilemma.Metric, evaluation: trilemma.Evaluation) -> dict[str, trilemma.Result]:
    return {result.metric: result for result in metric.compute(evaluation)}


# NLL


def test_the_nll_of_the_true_distribution_is_the_entropy_and_its_gap_is_nearly_zero() -> None:
    found = results(Nll(), evaluate(Gauss(), Normal()))
    nats = found["nll"]
    assert nats.unit == "nats"
    assert nats.n == 1000
    assert nats.likelihood == "exact"
    assert nats.details["method"] == "closed form"
    assert nats.ci_low < Normal().entropy < nats.ci_high
    gap = found["nll_gap"]
    assert abs(gap.value) < 0.01, "only the standardization by the training split separates model and distribution"
    assert gap.floor == 0
    assert gap.ci_high - gap.ci_low < (nats.ci_high - nats.ci_low) / 5, "the gap is paired"
    assert gap.details["mass"] == pytest.approx(1, abs=0.05)
    assert found["generalization_gap"].n == 600
    assert found["nll"].floor == pytest.approx(found["nll"].value - gap.value)


def test_the_gap_of_a_wider_model_is_its_kullback_leibler_divergence() -> None:
    distribution = Normal(Normal.Config(n_train=100_000, n_test=20_000))
    gap = results(Nll(Nll.Config(n=20_000)), evaluate(Gauss(Gauss.Config(scale=1.5)), distribution))["nll_gap"]
    divergence = 2 * (math.log(1.5) + 0.5 / 1.5**2 - 0.5)
    assert gap.n == 20_000
    assert gap.value == pytest.approx(divergence, abs=0.02)


def test_a_uniform_model_of_images_has_log2_of_the_levels() -> None:
    found = results(Nll(), evaluate(Box(), Levels()))
    assert found["nll"].unit == "bits/dim"
    assert found["nll"].value == pytest.approx(math.log2(4), abs=0.02)
    assert found["nll"].details["bound"] == "uniform dequantization bound"
    assert found["nll"].n == 270
    assert "nll_gap" not in found


def test_memorizing_shows_in_the_generalization_gap() -> None:
    rng = np.random.default_rng(0)
    test, train = rng.normal(-5, 1, 500), rng.normal(-2, 1.2, 500)
    value, low, high = nll.generalization_gap(test=test, train=train)
    assert value == pytest.approx(train.mean() - test.mean())
    error = math.sqrt(test.var(ddof=1) / 500 + train.var(ddof=1) / 500)
    assert high - low == pytest.approx(2 * 1.962 * error, rel=1e-3)


def test_points_without_mass_give_an_infinite_nll_and_no_interval() -> None:
    result = results(Nll(), evaluate(OutOfReach(), Normal()))["nll"]
    assert result.value == math.inf
    assert result.ci_low is None
    assert 0 < result.details["points_without_mass"] < result.n


def test_models_without_a_likelihood_are_unsupported() -> None:
    with pytest.raises(trilemma.UnsupportedError):
        Nll().compute(evaluate(Blind(), Normal()))


# Wasserstein


def test_squared_w2_is_the_best_matching() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 1
    from scipy.optimize import linear_sum_assignment

    cost_matrix = ((real[:, None] - generated[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(cost_matrix)
    assert transport.squared_w2(real=real, generated=generated) == pytest.approx(cost_matrix[rows, columns].mean())


def test_w2_of_gaussians_converges_to_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    scales, errors = np.array([1.0, 3.0]), []
    for n in (30, 1000):
        pairs = [(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) * scales) for _ in range(6)]
        values = [transport.squared_w2(real=real, generated=generated) for real, generated in pairs]
        errors.append(abs(np.mean(values) - ((scales - 1) ** 2).sum()))
    assert errors[1] < 0.12
    assert errors[1] < errors[0] / 2


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-50, 50), seed=st.integers(0, 99))
def test_w2_of_a_translation_is_its_length(shift: float, seed: int) -> None:
    real = np.random.default_rng(seed).normal(size=(30, 2))
    assert transport.squared_w2(real=real, generated=real + shift) == pytest.approx(2 * shift**2, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"generated": np.zeros((9, 2))}, trilemma.DataError),
        ({"generated": np.zeros((10, 3))}, trilemma.DataError),
        ({"generated": np.full((10, 2), np.nan)}, trilemma.DivergedError),
        ({"real": np.full((10, 2), np.inf)}, trilemma.DataError),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        transport.squared_w2(**({"real": np.ones((10, 2)), "generated": np.ones((10, 2))} | change))


def test_a_solver_that_stops_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_MAX_ITERATIONS", 3)
    rng = np.random.default_rng(3)
    with pytest.raises(transport.TransportError, match="did not converge"):
        transport.squared_w2(real=rng.normal(size=(100, 2)), generated=rng.normal(size=(100, 2)))


def test_the_excess_orders_scales_and_is_nearly_zero_for_the_distribution() -> None:
    config = Wasserstein.Config(n=500, draws=4)
    found = {s: results(Wasserstein(config), evaluate(Gauss(Gauss.Config(scale=s)), Normal())) for s in (0.6, 1.0, 1.4)}
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


def test_few_held_out_points_leave_one_real_draw_and_no_interval_on_the_floor() -> None:
    found = results(Wasserstein(Wasserstein.Config(draws=2)), evaluate(Gauss(), Levels()))
    assert found["w2"].n == 269
    assert found["w2"].details["floor_ci"] == [None, None]
    assert found["w2_excess"].details["reference"] == "shared"
    assert math.isfinite(found["w2_excess"].value)


def test_a_control_that_has_the_held_out_points_to_give_is_at_the_floor_and_has_no_excess() -> None:
    class Held(Gauss):
        """Draws from the truth, which of real data is the validation split."""

        needs_truth = True

        def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
            assert ctx.truth is not None
            return ctx.truth.sample(n, ctx.generator)

    found = results(Wasserstein(Wasserstein.Config(draws=2)), evaluate(Held(), Levels()))
    assert set(found) == {"w2"}
    assert found["w2"].value == pytest.approx(found["w2"].floor)
    assert found["w2"].ci_low is None


def test_samples_that_are_not_finite_are_diverged() -> None:
    with pytest.raises(trilemma.DivergedError):
        Wasserstein().compute(evaluate(Broken(), Normal()))


# Cost


def test_sampling_cost_counts_evaluations_and_flops() -> None:
    found = results(SamplingCost(SamplingCost.Config(seconds=0.05)), evaluate(Gauss(), Normal()))
    assert found["nfe"].value == 3
    assert found["flops_per_sample"].value == 3 * 2 * 2 * 2, "two FLOPs for each weight and evaluation"
    assert "randn" in " ".join(found["flops_per_sample"].details["uncounted"])
    throughput = found["seconds_per_1k"]
    assert 0 < throughput.ci_low < throughput.value < throughput.ci_high
    assert throughput.details["batch"] == 1000
    assert 0 < found["latency_p50"].value <= found["latency_p90"].value
    assert found["peak_memory"].value >= found["peak_memory"].details["before"] > 0


class Slow(Gauss):
    """Draws at a fixed cost for each call and a cost for each sample."""

    name = "slow"
    fixed, each = 0.02, 0.0

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        time.sleep(self.fixed + n * self.each)
        return super().sample(n, ctx)


@pytest.mark.parametrize(("each", "least", "most"), [(0.0, 500, 1000), (2e-3, 64, 64)])
def test_the_batch_is_as_large_as_time_allows(each: float, least: int, most: int) -> None:
    model = Slow()
    model.each = each
    found = results(SamplingCost(SamplingCost.Config(seconds=0.05)), evaluate(model, Normal()))
    throughput = found["seconds_per_1k"]
    batch = throughput.details["batch"]
    assert least <= batch <= most
    assert throughput.value == pytest.approx((0.02 + batch * each) * 1000 / batch, rel=0.3)
    assert throughput.details["contended"], "a process that sleeps gets less than its core"


def test_models_that_mark_no_network_have_no_nfe() -> None:
    assert "nfe" not in results(SamplingCost(SamplingCost.Config(seconds=0.01)), evaluate(Blind(), Normal()))


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


def test_training_cost_is_the_record_of_the_cell() -> None:
    found = results(TrainingCost(), evaluate(Gauss(), Normal()))
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


def test_training_flops_are_those_of_one_step_times_the_steps() -> None:
    evaluation = evaluate(Linear(), Normal())
    evaluation.model.build(evaluation.info)
    before = [p.clone() for p in evaluation.model.parameters()]
    assert "train_flops" not in results(TrainingCost(), evaluation), "no batch size, no steps: nothing to count"
    evaluation.training = dataclasses.replace(evaluation.training, batch_size=32)
    found = results(TrainingCost(), evaluation)["train_flops"]
    forward = 2 * 32 * 2 * 8
    assert found.value == 10 * 2 * forward, "backward: the weight's gradient alone, as the input needs none"
    assert "square" in " ".join(found.details["uncounted"]) or "pow" in " ".join(found.details["uncounted"])
    for parameter, old in zip(evaluation.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


def test_flops_of_losses_with_gradients_in_them_are_those_that_torch_counts() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.SiLU(), torch.nn.Conv1d(1, 2, 3), torch.nn.SiLU())
    x = torch.randn(5, 3)

    def plain() -> None:
        network(x.unsqueeze(1)).sum().backward()

    with FlopCounterMode(display=False) as counter:
        plain()
    assert count_flops(plain)[0] == counter.get_total_flops()

    def penalized() -> None:
        y = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(y.unsqueeze(1)).sum(), y, create_graph=True)
        slope.square().sum().backward()

    assert count_flops(penalized)[0] > 2 * count_flops(plain)[0]


def test_energy_is_an_estimate_and_only_where_a_power_is_given() -> None:
    config = SamplingCost.Config(seconds=0.02, watts=30)
    found = results(SamplingCost(config), evaluate(Gauss(), Normal()))
    assert found["energy_per_1k_estimate"].value == pytest.approx(30 * found["seconds_per_1k"].value)
    assert found["energy_per_1k_estimate"].details["estimate"] == "power times time"
    assert "energy_per_1k_estimate" not in results(
        SamplingCost(SamplingCost.Config(seconds=0.02)), evaluate(Gauss(), Normal())
    )


def test_the_mass_of_a_density_is_checked_where_no_distribution_is_known() -> None:
    class Table(trilemma.Dataset):
        """Points of a distribution that nobody knows."""

        name = "table"

        def load(self) -> trilemma.Splits:
            drawn = [Normal().sample(n, torch.Generator().manual_seed(n)) for n in (600, 300, 2000)]
            return trilemma.Splits(*drawn)

    class Double(Gauss):
        """A density that integrates to 2."""

        def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
            return super().log_prob(x, ctx) + math.log(2)

    for model, mass in ((Gauss(), 1), (Double(), 2)):
        details = results(Nll(), evaluate(model, Table()))["nll"].details
        low, high = details["mass_ci"]
        assert low - 0.02 <= mass <= high + 0.02
        assert details["mass"] == pytest.approx(mass, rel=0.1)
