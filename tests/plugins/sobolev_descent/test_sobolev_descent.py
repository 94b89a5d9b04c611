"""Sobolev descent: the critic's constraint, births and deaths, the discrepancy, and the descent itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.sobolev_descent import sobolev_descent
from trilemma.plugins.sobolev_descent.critic import (
    CriticNetwork,
    augmented_lagrangian,
    sobolev_constraint,
    values_and_gradients,
)
from trilemma.plugins.sobolev_descent.particles import birth_death, median_distance, mmd
from trilemma.plugins.sobolev_descent.sobolev_descent import SobolevDescent, Transport, UnbalancedSobolevDescent


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def context(**fields: object) -> trilemma.Context:
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(2,), n_train=4_000)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(3), **fields)  # type: ignore[arg-type]


def test_constraint_takes_the_gradient_of_each_point_by_itself() -> None:
    torch.manual_seed(0)
    critic, x = CriticNetwork(2, (16,), 1), torch.randn((30, 2), generator=generator())
    values, gradients = values_and_gradients(critic, x, differentiable=True)
    squared = []
    for point in x:
        leaf = point.clone().requires_grad_()
        value = critic(leaf.unsqueeze(0))[0]
        squared.append(float(torch.autograd.grad(value, leaf)[0].square().sum()))
    variance = float(((values - values.mean()) ** 2).mean().detach())
    expected = sum(squared) / 30 + 0.3 * variance - 1
    constraint = sobolev_constraint(values, gradients, 0.3)
    assert float(constraint.detach()) == pytest.approx(expected, rel=1e-5)
    # The critic learns from it: its weights have a gradient.
    slopes = torch.autograd.grad(constraint, list(critic.parameters()), allow_unused=True)
    assert max(float(s.abs().max()) for s in slopes if s is not None) > 0


def test_multiplier_finds_the_unit_slope_of_a_linear_critic() -> None:
    # For distributions that differ by a shift m, sup of E_p f - E_q f over linear f with |grad f| = 1 is |m|.
    shift = torch.tensor([0.6, -0.8]) * 1.5
    weight, multiplier = torch.tensor([0.1, 0.1], requires_grad=True), torch.zeros(())
    for _ in range(4_000):
        constraint = weight.square().sum() - 1
        value = augmented_lagrangian((weight * shift).sum(), constraint, multiplier, 0.5)
        (slope,) = torch.autograd.grad(value, weight)
        with torch.no_grad():
            weight += 0.02 * slope
        multiplier = multiplier + 0.02 * 0.5 * constraint.detach()
    torch.testing.assert_close(weight.detach(), shift / shift.norm(), atol=1e-3, rtol=0)
    assert float(multiplier) == pytest.approx(0.75, abs=1e-2)  # half the gap


@pytest.mark.parametrize("n", [1, 2, 501])
@pytest.mark.parametrize("time", [0.0, 0.5, 100.0])
def test_births_and_deaths_keep_the_number_of_particles(n: int, time: float) -> None:
    x = torch.randn((n, 2), generator=generator())
    after = birth_death(x, x[:, 0], time, generator(1))
    assert after.shape == x.shape
    known = {tuple(point) for point in x.tolist()}
    assert all(tuple(point) in known for point in after.tolist())
    if time == 0:
        assert torch.equal(after.sort(0).values, x.sort(0).values)


def test_birth_rates_have_mean_zero_and_exponential_chances() -> None:
    x = torch.arange(4.0).repeat_interleave(50_000).unsqueeze(1)
    values = torch.tensor([3.0, 1.0, 1.0, -1.0]).repeat_interleave(50_000)  # mean 1
    after = birth_death(x, values, 0.25, generator(1))
    share = torch.bincount(after[:, 0].long(), minlength=4) / 50_000
    chance = 1 - math.exp(-0.25 * 2)
    expected = torch.tensor([1 + chance, 1, 1, 1 - chance])
    torch.testing.assert_close(share, expected, atol=0.02, rtol=0)
    # Only the difference from the mean counts.
    assert torch.equal(birth_death(x, values + 7, 0.25, generator(1)), after)


def test_mmd_is_the_double_sum() -> None:
    x, y = (torch.randn((n, 2), generator=generator(n), dtype=torch.float64) for n in (7, 9))
    widths = [0.3, 0.6, 1.2, 2.4, 4.8]

    def kernel(a: Tensor, b: Tensor) -> float:
        return sum(math.exp(-float((a - b).square().sum()) / (2 * w**2)) for w in widths) / 5

    def mean(a: Tensor, b: Tensor) -> float:
        return sum(kernel(p, q) for p in a for q in b) / (len(a) * len(b))

    assert mmd(x, y, 1.2) == pytest.approx(math.sqrt(mean(x, x) + mean(y, y) - 2 * mean(x, y)))
    assert mmd(x, x, 1.2) == pytest.approx(0, abs=1e-7)
    assert median_distance(x) == float(torch.pdist(x).median())


def shifted(n: int, seed: int) -> Tensor:
    """Two Gaussians of spread .4 at (-1, .5) and (1, .5), of weights .3 and .7."""
    side = torch.where(torch.rand(n, generator=generator(seed)) < 0.3, -1.0, 1.0)
    noise = 0.4 * torch.randn((n, 2), generator=generator(seed + 50))
    return noise + torch.stack([side, torch.full_like(side, 0.5)], dim=1)


def trained(kind: type[SobolevDescent], steps: int) -> tuple[SobolevDescent, trilemma.Context]:
    model = kind(kind.Config(hidden=(32, 32), particles=1_000, steps=100, step=0.06))
    recipe = kind.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    ctx = context(clock=clock, recipe=recipe, valid=trilemma.Split(shifted(1_000, 2)))
    model.fit(trilemma.Split(shifted(4_000, 1)), ctx)
    return model, ctx


@pytest.fixture(autouse=True)
def few_points_of_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The discrepancy costs more than the descent of these tests: note it five times at the start and over all."""
    monkeypatch.setattr(sobolev_descent, "CURVE_POINTS", 5)


@pytest.mark.parametrize("kind", [SobolevDescent, UnbalancedSobolevDescent])
def test_descent_brings_fresh_noise_to_the_data(kind: type[SobolevDescent]) -> None:
    model, ctx = trained(kind, 750)
    falling, floor = ctx.curves["mmd"], ctx.curves["mmd_floor"][0]
    assert ctx.curves["mmd_step"][-1] == 100
    assert falling[-1] < 0.25 * falling[0]
    assert falling[-1] < 3 * floor
    rows = 0

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    (network,) = model.networks()
    handle = network.register_forward_pre_hook(count)
    x = model.sample(1_500, context(sampler=Transport()))
    handle.remove()
    # Births and deaths need whole populations, and the critic at the moved particles. All evaluations count.
    assert rows == 100 * (2 * 2_000 if model.name.startswith("unbalanced") else 1_500)
    assert mmd(x[:1_000], shifted(1_000, 3), median_distance(shifted(1_000, 3))) < 4 * floor
    # Half of the noise is on either side. Not all that should cross does: the gap is small once most has.
    assert 0.6 < float((x[:, 0] > 0).float().mean()) < 0.75
    half = model.sample(1_500, context(sampler=Transport(steps=50)))
    assert not torch.equal(half, x)


def test_every_step_is_taken_within_a_short_budget_and_training_can_be_measured_afterwards() -> None:
    model, ctx = trained(SobolevDescent, 3)
    assert ctx.curves["mmd_step"][-1] == 100
    assert float(model.path.abs().sum(1).min()) > 0
    before = model.path.clone()
    logs = model.training_step(shifted(50, 5), context(), lambda loss, group="all": loss.backward())
    assert all(bool(torch.isfinite(value)) for value in logs.values())
    assert torch.equal(model.path, before)


def test_births_and_deaths_follow_the_critic_at_the_moved_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    # f(x) = |x|^2 / 2, so a step of size e takes x to (1 + e) x, where f is (1 + e)^2 times as large.
    model, seen = (
        UnbalancedSobolevDescent(UnbalancedSobolevDescent.Config(steps=10, step=0.5, particles=4, decay=1)),
        [],
    )
    monkeypatch.setattr(model, "stored", lambda k: lambda x: x.square().sum(1) / 2)

    def note(x: Tensor, values: Tensor, time: float, generator: torch.Generator) -> Tensor:
        seen.append((x, values, time))
        return x

    monkeypatch.setattr(sobolev_descent, "birth_death", note)
    x = torch.randn((4, 2), generator=generator())
    model.step(x, 5, generator(1))
    torch.testing.assert_close(seen[0][0], 1.25 * x)
    torch.testing.assert_close(seen[0][1], 1.25**2 * x.square().sum(1) / 2)
    assert seen[0][2] == pytest.approx(0.3 * 0.02 / 2)


def test_discrepancy_is_off_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    time = 0.0

    def slow(x: Tensor, y: Tensor, width: float) -> float:
        nonlocal time
        time += 100.0
        return 0.0

    monkeypatch.setattr(sobolev_descent, "mmd", slow)
    clock = trilemma.Clock(trilemma.Budget(seconds=1.0), now=lambda: time)
    clock.start()
    model = SobolevDescent(SobolevDescent.Config(steps=5, particles=50, hidden=(4,)))
    ctx = context(clock=clock, valid=trilemma.Split(shifted(50, 2)))
    model.prepare(ctx.info)
    model.initialize(trilemma.Split(shifted(60, 1)), ctx)
    model.move(ctx)
    assert len(ctx.curves["mmd"]) == 2
    assert time == 300.0
    assert clock.seconds == 0.0


class Bowl(nn.Module):
    """f(x) = |x|^2 / 2, whose gradient is x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum(1) / 2


@pytest.mark.parametrize(("measure", "squared"), [("particles", 1.0), ("mixture", 5.0)])
@pytest.mark.parametrize("n", [60, 61])
def test_constraint_is_taken_under_the_measure_of_the_option(measure: str, squared: float, n: int) -> None:
    # Particles lie on the unit circle and data on the circle of radius 3, so |grad f|^2 is 1 and 9.
    model = SobolevDescent(SobolevDescent.Config(measure=measure, particles=50, steps=2))
    model.prepare(context().info)
    model.critic = Bowl()  # type: ignore[assignment]
    directions = torch.nn.functional.normalize(torch.randn((n, 2), generator=generator()))
    model.particles.copy_(directions[:50])
    _, gap, constraint = (value.detach() for value in model.objective(3 * directions, context()))
    assert float(gap) == pytest.approx((9 - 1) / 2)
    assert float(constraint) == pytest.approx(squared - 1, abs=0.1)


@pytest.mark.slow
def test_narrow_modes_keep_their_spread() -> None:
    # 5 x 5 Gaussians in standardized coordinates: without a bound at the data, particles collapse to the centers.
    spacing, spread = 0.5**0.5, 0.05 / 2**0.5 / 2
    axis = spacing * torch.arange(-2.0, 3.0)
    centers = torch.cartesian_prod(axis, axis)

    def grid(n: int, seed: int) -> Tensor:
        rows = torch.randint(25, (n,), generator=generator(seed))
        return centers[rows] + spread * torch.randn((n, 2), generator=generator(seed + 50))

    model = SobolevDescent()
    model.fit(
        trilemma.Split(grid(20_000, 1)),
        context(clock=trilemma.Clock(trilemma.Budget(steps=6_000)), recipe=SobolevDescent.recipe),
    )
    x = model.sample(4_000, context(sampler=Transport()))
    distances, nearest = torch.cdist(x, centers).min(1)
    close = distances < 3 * spread
    assert float(close.float().mean()) > 0.85
    assert 0.8 < float((distances[close] / spread).square().mean().div(2).sqrt()) < 1.3
    shares = torch.bincount(nearest, minlength=25) / len(x)
    assert 0.5 / 25 < float(shares.min()) <= float(shares.max()) < 1.6 / 25
