"""Flow matching: its velocity as a denoiser, optimal-transport pairs, and reflow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

import trilemma
from trilemma.harness.evaluation.flops import training_step_flops
from trilemma.harness.training.weights import Updater
from trilemma.plugins.diffusion.denoiser import VelocityPrediction
from trilemma.plugins.diffusion.flow_matching import (
    FlowEuler,
    FlowMatching,
    FlowMultistep,
    StraightPath,
    flow_matching_loss,
    u_shaped_times,
)
from trilemma.plugins.diffusion.ode_samplers import Heun
from trilemma.plugins.diffusion.paired_flows import OtFlowMatching, RectifiedFlow, optimal_pairs


class Field(nn.Module):
    """A raw network that is a known vector field and depends only on the point."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.stack([x[:, 1].sin(), 0.5 * x[:, 0]], dim=1)


def test_path_has_the_marginals_of_straight_interpolation() -> None:
    path, t = StraightPath(), torch.tensor([0.0, 0.25, 0.9], dtype=torch.float64)
    torch.testing.assert_close(path.alpha(t), 1 - t, atol=1.1e-3, rtol=0)
    torch.testing.assert_close(path.alpha(t) * path.sigma(t), t, atol=1.1e-3, rtol=0)
    assert path.sigma_max == pytest.approx(999)  # .999 z + .001 x
    assert path.sigma_min == pytest.approx(1 / 999)
    time = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    variance = (path.alpha(time) * path.sigma(time)) ** 2
    slope = torch.autograd.grad(variance, time)[0]
    torch.testing.assert_close(slope, 2 * path.drift(time) * variance + path.squared_diffusion(time))


def test_loss_is_the_squared_error_of_the_velocity(generator: Callable[..., torch.Generator]) -> None:
    x, z = (torch.randn((50, 2), generator=generator(k), dtype=torch.float64) for k in (1, 2))
    share = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    s = share.unsqueeze(1)
    expected = (Field()((1 - s) * z + s * x, share) - (x - z)).square().mean()
    torch.testing.assert_close(flow_matching_loss(VelocityPrediction(Field()), x, z, share), expected)


def test_euler_steps_of_the_velocity_are_ddim(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    z, steps = torch.randn((20, 2), generator=generator(), dtype=torch.float64), 8
    x = z
    for _ in range(steps):
        x = x + Field()(x, z[:, 0]) / steps
    sampler = FlowEuler(steps=steps)
    found = sampler.draw(VelocityPrediction(Field()), z, StraightPath(1e-5), context(FlowMatching, sampler=sampler))
    torch.testing.assert_close(found, x, atol=2e-4, rtol=0)  # time starts at 1e-5


def test_multistep_has_order_two_along_the_path_up_to_a_logarithm(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    z, edge = torch.randn((20, 2), generator=generator(), dtype=torch.float64), 1e-8
    denoise, path, counts = VelocityPrediction(Field()), StraightPath(edge), (80, 160, 320, 640)

    def slope(_: float, x: Any) -> Any:
        return Field()(torch.tensor(x).reshape(20, 2), z[:, 0]).flatten().numpy()

    end = solve_ivp(slope, (edge, 1), z.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]

    def errors(kind: type[FlowEuler] | type[FlowMultistep]) -> list[float]:
        ends = [kind(steps=steps).draw(denoise, z, path, context(FlowMatching)) for steps in counts]
        return [float((x.flatten() - torch.tensor(end)).abs().max()) for x in ends]

    for first, second in itertools.pairwise(errors(FlowEuler)):
        assert math.log2(first / second) == pytest.approx(1, abs=0.02)
    # Even times are far apart in ln(sigma) at both ends. There the error of the k-th step is in proportion to 1/k, so
    # that n^2 times the error grows by a constant amount with each doubling of n.
    found = errors(FlowMultistep)
    scaled = [error * steps**2 for error, steps in zip(found, counts, strict=True)]
    growth = [second - first for first, second in itertools.pairwise(scaled)]
    assert growth == pytest.approx([growth[0]] * 3, rel=0.05)
    for first, second in itertools.pairwise(found):
        assert 1.55 < math.log2(first / second) < 2


def test_u_shaped_times_follow_their_density(generator: Callable[..., torch.Generator]) -> None:
    times = u_shaped_times(10_000, 0.01, generator())
    assert float((times[1:] - times[:-1]).abs().mean()) > 0.3  # in random order
    times = times.sort().values.double()
    assert float(times[0]) >= 0.01
    assert float(times[-1]) <= 0.99
    grid = torch.linspace(0, 1, 4_001, dtype=torch.float64)  # of u = (times - .01) / .98
    density = (8 * grid).exp() + (8 * (1 - grid)).exp()
    mass = torch.cumulative_trapezoid(density, grid)
    for share in (0.02, 0.2, 0.5, 0.7, 0.97):
        expected = 0.01 + 0.98 * float(grid[1:][torch.searchsorted(mass, share * mass[-1])])
        assert float(times[int(share * 10_000)]) == pytest.approx(expected, abs=1e-3)


def test_optimal_pairs_have_the_least_cost_and_keep_every_noise(generator: Callable[..., torch.Generator]) -> None:
    x, z = (torch.randn((10, 2), generator=generator(k)) for k in (1, 2))
    paired = optimal_pairs(x, z, 5)
    for rows in (slice(0, 5), slice(5, 10)):
        costs = [float((x[rows] - z[rows][list(order)]).square().sum()) for order in itertools.permutations(range(5))]
        assert float((x[rows] - paired[rows]).square().sum()) == pytest.approx(min(costs), rel=1e-5)
        assert torch.equal(paired[rows].sort(0).values, z[rows].sort(0).values)


@pytest.fixture
def train(context: Callable[..., trilemma.Context], pair: Any) -> Callable[..., trilemma.NeuralModel]:
    """A function that trains a model on the two modes."""

    def run(kind: type[trilemma.NeuralModel], steps: int, **options: object) -> trilemma.NeuralModel:
        model = kind(kind.Config(hidden=(64, 64), **options))  # type: ignore[arg-type]
        recipe = kind.recipe.model_copy(update={"batch_size": 256})
        clock = trilemma.Clock(trilemma.Budget(steps=steps))
        model.fit(trilemma.Split(pair.points(4_000, 1)), context(kind, clock=clock, recipe=recipe))
        return model

    return run


@pytest.mark.parametrize(
    ("kind", "options"), [(FlowMatching, {}), (OtFlowMatching, {"ot_batch": 64}), (RectifiedFlow, {"pairs": 4_000})]
)
def test_trained_density_is_close_to_the_true_density(
    train: Callable[..., trilemma.NeuralModel],
    context: Callable[..., trilemma.Context],
    pair: Any,
    kind: type[trilemma.NeuralModel],
    options: dict[str, object],
) -> None:
    model = train(kind, 600, **options)
    x = pair.points(2_000, 3)
    ratio = model.log_prob(x, context(FlowMatching)) - pair.log_prob(x)
    assert ratio.exp().mean() == pytest.approx(1, abs=0.06)
    assert -0.02 < -ratio.mean() < 0.12
    samples = model.sample(3_000, context(FlowMatching, sampler=Heun()))
    assert float((samples[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(samples[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.08)
    # Both kinds of pairs give straighter paths: two Euler steps come closer to the end of the flow.
    ends = [
        model.sample(2_000, context(FlowMatching, sampler=sampler))
        for sampler in (FlowEuler(steps=2), FlowEuler(steps=60))
    ]
    bend = float((ends[0] - ends[1]).square().mean().sqrt())
    assert bend > 0.3 if kind is FlowMatching else bend < 0.3


def test_a_rectified_flow_draws_its_pairs_in_parts_between_steps(
    train: Callable[..., trilemma.NeuralModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    plain = RectifiedFlow.make_pairs

    def counted(self: RectifiedFlow, n: int, *rest: Any) -> Any:
        drawn.append(n)
        return plain(self, n, *rest)

    monkeypatch.setattr(RectifiedFlow, "make_pairs", counted)
    train(RectifiedFlow, 10, pairs=5_000)
    assert drawn == [2_000, 2_000, 1_000]
    drawn.clear()
    train(RectifiedFlow, 2, pairs=5_000)
    assert drawn == [2_000], "a training of two steps has one step on pairs"


@pytest.mark.parametrize("kind", [FlowMatching, OtFlowMatching, RectifiedFlow])
def test_the_cost_of_a_step_is_counted_after_training(
    train: Callable[..., trilemma.NeuralModel],
    context: Callable[..., trilemma.Context],
    pair: Any,
    kind: type[trilemma.NeuralModel],
) -> None:
    model, x = train(kind, 4), pair.points(64, 4)
    flops, _ = training_step_flops(model, x, context(FlowMatching))
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    assert flops > 2 * len(x) * 2 * weights  # forward, and backward once at least


def test_only_flows_on_independent_pairs_give_scores(context: Callable[..., trilemma.Context]) -> None:
    sigma, x = torch.tensor(1.0), torch.zeros((3, 2))
    model: trilemma.NeuralModel
    for kind in (OtFlowMatching, RectifiedFlow):
        model = kind()
        model.prepare(context(FlowMatching).info)
        with pytest.raises(trilemma.UnsupportedError):
            model.score(x, sigma, context(FlowMatching))
    model = FlowMatching()
    model.prepare(context(FlowMatching).info)
    assert model.score(x, sigma, context(FlowMatching)).shape == (3, 2)


def test_the_learning_rate_falls_over_the_reflow_alone(
    train: Callable[..., trilemma.NeuralModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    plain = Updater.set_learning_rate

    def noted(self: Updater, lr: float) -> None:
        rates.append(lr)
        plain(self, lr)

    monkeypatch.setattr(Updater, "set_learning_rate", noted)
    monkeypatch.setattr(RectifiedFlow, "recipe", RectifiedFlow.recipe.model_copy(update={"warmup": 0}))
    train(RectifiedFlow, 40, pairs=2_000, first=0.5)
    lr = RectifiedFlow.recipe.lr
    assert rates[:21] == [lr] * 21
    assert rates[30] == pytest.approx(lr / 2)
    assert rates[39] < 0.02 * lr


def distance(x: Tensor, y: Tensor) -> float:
    """The 2-Wasserstein distance of two samples of the same size, solved exactly."""
    import ot

    return math.sqrt(ot.emd2([], [], torch.cdist(x.double(), y.double()).square().numpy()))


@pytest.mark.slow
def test_reflow_keeps_the_likelihood_of_its_teacher_and_needs_one_step(
    train: Callable[..., trilemma.NeuralModel],
    context: Callable[..., trilemma.Context],
    pair: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers: list[Any] = []
    plain = RectifiedFlow.make_pairs

    def noted(self: RectifiedFlow, n: int, denoise: Any, ctx: trilemma.Context) -> Any:
        teachers[:] = [denoise]
        return plain(self, n, denoise, ctx)

    monkeypatch.setattr(RectifiedFlow, "make_pairs", noted)
    student, x = train(RectifiedFlow, 3_000, pairs=20_000), pair.points(4_000, 3)
    teacher = RectifiedFlow(student.config)
    teacher.prepare(context(FlowMatching).info)
    teacher.denoiser = teachers[0].module
    gaps = [
        float((pair.log_prob(x) - model.eval().log_prob(x, context(FlowMatching))).mean())
        for model in (student, teacher)
    ]
    assert gaps[0] < gaps[1] + 0.02
    flow, once = train(FlowMatching, 3_000), context(FlowMatching, sampler=FlowEuler(steps=1))
    assert distance(student.sample(1_000, once), x[:1_000]) < 0.25 * distance(flow.sample(1_000, once), x[:1_000])
