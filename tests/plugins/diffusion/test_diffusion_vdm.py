"""Variational diffusion models: the learned noise schedule, the terms of the bound, and the bound on levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.vdm.schedule import LearnedDiffusion, LearnedSchedule
from trilemma.plugins.diffusion.vdm.vdm import LevelFeatures, Vdm, VdmUnet, diffusion_loss
from trilemma.plugins.networks.levels import Levels

Generator = Callable[..., torch.Generator]
Context = Callable[..., trilemma.Context]


def bent(gamma: tuple[float, float] = (-6.0, 4.0), seed: int = 0) -> LearnedSchedule:
    """A schedule whose interior is far from linear."""
    torch.manual_seed(seed)
    schedule = LearnedSchedule(gamma, 6)
    with torch.no_grad():
        schedule.height.copy_(torch.tensor([4.0, -1.0, 0.5, 2.0, 0.0, 3.0]))
    return schedule


class ScalarDenoiser(torch.nn.Module):
    """The exact denoiser of N(0, variance I), through which gradients reach the noise level."""

    def __init__(self, variance: float) -> None:
        super().__init__()
        self.variance = variance

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.to(x).reshape(-1, *[1] * (x.ndim - 1)) if sigma.ndim else sigma.to(x)
        return x * self.variance / (self.variance + s**2)


def test_schedule_rises_between_its_ends_and_its_derivative_is_that_of_autograd() -> None:
    schedule = bent()
    t = torch.linspace(0, 1, 201, dtype=torch.float64, requires_grad=True)
    gamma, rate = schedule(t)
    assert gamma[[0, -1]].tolist() == pytest.approx([-6, 4])
    assert (gamma.diff() > 0).all()
    assert float((gamma.detach() - torch.linspace(-6, 4, 201)).abs().max()) > 0.5
    torch.testing.assert_close(rate, torch.autograd.grad(gamma.sum(), t)[0])


def test_coefficients_solve_the_moment_equations_of_a_variance_preserving_diffusion() -> None:
    diffusion = LearnedDiffusion(bent())
    times = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)
    alpha, f, g2 = diffusion.alpha(times), diffusion.drift(times), diffusion.squared_diffusion(times)
    variance = (alpha * diffusion.sigma(times)) ** 2
    torch.testing.assert_close(alpha**2 + variance, torch.ones_like(times))
    # d alpha / dt = f alpha and d variance / dt = 2 f variance + g^2, by central differences.
    step, inner = 2 * float(times[1]), slice(1, -1)
    for value, slope in ((alpha, f * alpha), (variance, 2 * f * variance + g2)):
        torch.testing.assert_close((value[2:] - value[:-2]) / step, slope[inner], atol=2e-5, rtol=2e-4)
    sigma = diffusion.sigma(times[::400])
    torch.testing.assert_close(diffusion.time(sigma), times[::400], atol=1e-9, rtol=0)


def test_terms_of_gaussian_data_have_their_closed_forms(context: Context) -> None:
    model, variance, d = Vdm(Vdm.Config(gamma=(-5.0, 3.0))), 0.49, 2
    ctx = context(Vdm)
    model.prepare(ctx.info)
    model.denoiser = ScalarDenoiser(variance)
    x = variance**0.5 * torch.randn((20_000, d), generator=torch.Generator().manual_seed(1))
    terms = model.bound(x, 4, 0.002, ctx).means()
    low, high = -5.0, 3.0
    other = math.exp(high) / (1 + math.exp(high))  # the variance of z_1 given x
    second = other + variance * (1 - other)  # E z_1^2 per coordinate: the prior term is a mean KL to N(0, 1)
    prior = d * 0.5 * (second - 1 - math.log(other))
    # E|D - x|^2 / sigma^2 is d variance / (variance + sigma^2), the posterior variance of each coordinate.
    diffusion = integrate.quad(lambda g: 0.5 * d * variance / (variance + math.exp(g)), low, high)[0]
    reconstruction = -d * stats.norm(0, math.exp(low / 2)).expect(stats.norm(0, math.exp(low / 2)).logpdf)
    assert terms["prior"] == pytest.approx(prior, abs=2e-3)
    assert terms["diffusion"] == pytest.approx(diffusion, abs=0.01)
    assert terms["reconstruction"] == pytest.approx(reconstruction, abs=1e-4)
    # The sum exceeds the entropy by what the ends cost: the noise of z_0, and the mismatch of the prior at gamma_1.
    entropy = d * 0.5 * math.log(2 * math.pi * math.e * variance)
    assert 0 < sum(terms.values()) - entropy < 0.1


def test_without_units_the_schedule_is_linear() -> None:
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    gamma, rate = LearnedSchedule((-6.0, 4.0), 0)(t)
    torch.testing.assert_close(gamma, 10 * t - 6)
    torch.testing.assert_close(rate, torch.full_like(t, 10.0))


def test_the_expected_loss_does_not_depend_on_the_interior_and_its_variance_does(generator: Generator) -> None:
    x = 0.7 * torch.randn((40_000, 2), generator=generator(1))
    denoise = ScalarDenoiser(0.49)
    schedules = bent(seed=0), bent(seed=1), LearnedSchedule((-6.0, 4.0), 0)
    losses = [diffusion_loss(denoise, x, schedule, generator(2)).detach() for schedule in schedules]
    for loss, other in itertools.combinations(losses, 2):
        assert float(loss.mean()) == pytest.approx(float(other.mean()), rel=0.02)
    assert float(losses[0].var()) > 1.2 * float(losses[2].var())


def test_the_interior_gets_the_gradient_of_the_mean_square(generator: Generator) -> None:
    # Finite differences of mean(loss^2) / (2 mean(loss)), with the mean below the fraction held fixed.
    schedule, x = bent(), 0.7 * torch.randn((64, 2), generator=generator(1))
    denoise = ScalarDenoiser(0.49)
    mean = float(diffusion_loss(denoise, x, schedule, generator(2)).detach().mean())
    diffusion_loss(denoise, x, schedule, generator(2)).mean().backward()  # type: ignore[no-untyped-call]
    for parameter in (schedule.steepness, schedule.height, schedule.shift):
        assert parameter.grad is not None
        for index in (0, 3):
            values = []
            for step in (1e-2, -1e-2):
                with torch.no_grad():
                    parameter[index] += step
                    loss = diffusion_loss(denoise, x, schedule, generator(2))
                    parameter[index] -= step
                values.append(float(loss.square().mean()) / (2 * mean))
            assert float(parameter.grad[index]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.05, abs=1e-4)


def test_training_finds_the_schedule_of_least_variance(generator: Generator) -> None:
    # For N(0, v I), the mean square of the loss at gamma is proportional to (gamma' / (1 + exp(gamma) / v))^2, which is
    # least in the mean over t for dt / dgamma proportional to 1 / (1 + exp(gamma) / v).
    torch.manual_seed(0)
    schedule, denoise, variance = LearnedSchedule((-5.0, 3.0), 32), ScalarDenoiser(0.49), 0.49
    optimizer = torch.optim.Adam([p for name, p in schedule.named_parameters() if name != "moved"])
    noise, steps = generator(3), 300
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        x = 0.7 * torch.randn((512, 2), generator=noise)
        optimizer.zero_grad()
        diffusion_loss(denoise, x, schedule, noise).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    gamma = schedule(torch.tensor([0.25, 0.5, 0.75, 0.9], dtype=torch.float64))[0].detach()
    density = lambda g: 1 / (1 + math.exp(g) / variance)  # noqa: E731
    whole = integrate.quad(density, -5, 3)[0]
    found = [integrate.quad(density, -5, float(g))[0] / whole for g in gamma]
    assert found == pytest.approx([0.25, 0.5, 0.75, 0.9], abs=0.03)


@pytest.fixture
def one_pixel(context: Context) -> tuple[VdmUnet, trilemma.Context, Tensor]:
    """A model of one pixel with four levels, its exact denoiser, a context, and the probabilities of the levels."""
    ctx = context(VdmUnet, shape=(1, 1, 1))
    levels, probabilities = Levels.of(ctx.info), torch.tensor([0.1, 0.4, 0.2, 0.3])

    class Exact(torch.nn.Module):
        """The posterior mean over the levels."""

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            s = sigma.to(x).reshape(-1, 1, 1, 1, 1) if sigma.ndim else sigma.to(x)
            weights = probabilities.log() - 0.5 * ((x.unsqueeze(-1) - levels.centers.to(x)) / s).square()
            return (weights.softmax(-1) * levels.centers.to(x)).sum(-1)

    model = VdmUnet(VdmUnet.Config(gamma=(-4.0, 6.0), widths=(4,)))
    model.prepare(ctx.info)
    model.denoiser = Exact()
    return model, ctx, probabilities


def test_the_bound_on_levels_is_below_the_probability_of_the_levels_and_close(
    one_pixel: tuple[VdmUnet, trilemma.Context, Tensor],
) -> None:
    model, ctx, probabilities = one_pixel
    levels = Levels.of(ctx.info)
    ctx.likelihood = VdmUnet.Likelihood(bound_draws=40)
    each = torch.arange(4).repeat_interleave(3_000)
    x = levels.centers[each].reshape(-1, 1, 1, 1).float()
    logs = model.log_prob(x, ctx) + math.log(levels.width)
    assert ctx.details["base"] == "discrete"
    bounds = torch.stack([logs[each == k].mean() for k in range(4)])
    gap = (probabilities * (probabilities.log() - bounds)).sum()  # the bound holds in the mean over the data
    assert -0.01 < float(gap) < 0.03
    outside = levels.low - 0.5 * torch.ones(1, 1, 1, 1)
    assert float(model.log_prob(outside, ctx)) == -math.inf


@pytest.mark.parametrize("name", ["ancestral", "heun", "dpm-solver++2m"])
def test_samples_of_levels_have_their_probabilities_and_are_uniform_within_each(
    name: str, one_pixel: tuple[VdmUnet, trilemma.Context, Tensor]
) -> None:
    model, ctx, probabilities = one_pixel
    sampler = next(sampler for sampler in VdmUnet.samplers if sampler.name == name)
    ctx.sampler, n = sampler(steps=60), 4_000
    place = (model.sample(n, ctx).flatten().double() - Levels.of(ctx.info).low) / Levels.of(ctx.info).width
    counts = torch.bincount(place.floor().long(), minlength=4)
    assert len(counts) == 4
    assert (counts / n).tolist() == pytest.approx(probabilities.tolist(), abs=0.03)
    assert stats.kstest((place % 1).numpy(), "uniform").pvalue > 1e-3


def test_fourier_features_have_periods_of_one_and_two_levels() -> None:
    levels = Levels(-1.0, 0.25, 8)
    seen: list[Tensor] = []

    class Network(torch.nn.Module):
        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            seen.append(x)
            return x[:, :1]

    network = LevelFeatures(Network(), levels)
    x = torch.rand((5, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    for shift in (0.0, 0.25, 0.5):
        network(x + shift, torch.zeros(5))
    assert seen[0].shape == (5, 5, 2, 2)
    torch.testing.assert_close(seen[0][:, 1:], seen[2][:, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0][:, 3:], seen[1][:, 3:], atol=1e-4, rtol=0)
    assert not torch.allclose(seen[0][:, 1:3], seen[1][:, 1:3], atol=0.1)


def fitted(
    kind: type[Vdm], x: Tensor, steps: int, context: Context, shape: tuple[int, ...], **options: object
) -> tuple[Vdm, trilemma.Context]:
    """A model trained for some steps, and a context to evaluate it in."""
    model = kind(kind.Config(**options))  # type: ignore[arg-type]
    recipe = kind.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    model.fit(trilemma.Split(x), context(kind, shape, clock=clock, recipe=recipe))
    return model.eval(), context(kind, shape, sampler=kind.samplers[0](steps=20))


def test_a_model_of_images_trains_draws_and_has_both_likelihoods(context: Context) -> None:
    x = torch.rand((64, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    model, ctx = fitted(VdmUnet, x, 2, context, (1, 8, 8), widths=(4, 8), blocks=1)
    restored = VdmUnet(model.config)
    restored.prepare(ctx.info)
    restored.load_state(model.state() or {})
    ctx.generator.manual_seed(5)
    samples = model.sample(3, ctx)
    ctx.generator.manual_seed(5)
    assert torch.equal(restored.eval().sample(3, ctx), samples)
    high = torch.tensor(30.0)  # above the noise levels of the schedule
    far = high * torch.randn((50, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    assert float((model.score(far, high, ctx) * (1 + high**2) + far).norm() / far.norm()) < 0.2
    assert model.likelihood_kind(ctx.likelihood) == "bound"
    bound = model.log_prob(x[:4], ctx)
    ctx.likelihood = VdmUnet.Likelihood(method="ode", steps=2, dequantization="truncated-normal")
    assert model.likelihood_kind(ctx.likelihood) == "ode"
    for values in (bound, model.log_prob(x[:4], ctx)):
        assert values.shape == (4,)
        assert torch.isfinite(values).all()


@pytest.mark.slow
@pytest.mark.parametrize("units", [128, 0])
def test_the_bound_of_a_trained_model_is_close_to_the_density(units: int, context: Context, pair: Any) -> None:
    model, ctx = fitted(Vdm, pair.points(4_000, 1), 800, context, (2,), hidden=(64, 64), units=units)
    x = pair.points(4_000, 3)
    gap = float((pair.log_prob(x) - model.log_prob(x, ctx)).mean())
    assert 0 < gap < 0.2
    assert ctx.details["gamma"][0] < -4
    ctx.likelihood = Vdm.Likelihood(method="ode", sigma_min=0.01)
    assert float((pair.log_prob(x) - model.log_prob(x, ctx)).mean()) < gap + 0.03
    ctx.sampler = Vdm.samplers[0](steps=200)
    samples = model.sample(3_000, ctx)
    assert float((samples[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(samples[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("ends", [(5.0, -13.3), (2.0, 2.0), (-13.3, 99.0)])
def test_a_schedule_whose_noise_does_not_rise_is_refused(ends: tuple[float, float]) -> None:
    """With its ends exchanged, the bound would be far above every density."""
    with pytest.raises(ValueError, match="the noise must rise with time"):
        Vdm.Config(gamma=ends)
