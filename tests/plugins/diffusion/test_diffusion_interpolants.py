"""Flow matching along other paths, and the SDE of a stochastic interpolant with any coefficient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.denoiser import Preconditioned
from trilemma.plugins.diffusion.flow_matching import (
    FlowEuler,
    FlowMatching,
    FlowSde,
    StraightPath,
    TrigonometricPath,
    interpolant_loss,
)
from trilemma.plugins.diffusion.ode_samplers import Heun
from trilemma.plugins.diffusion.schedules import Diffusion

Context = Callable[..., trilemma.Context]
Generator = Callable[..., torch.Generator]

PATHS = [StraightPath(), StraightPath(latent=2.0), TrigonometricPath()]


@pytest.mark.parametrize("path", PATHS)
def test_coefficients_solve_the_moment_equations_and_time_is_the_inverse_of_the_noise_level(path: Diffusion) -> None:
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64, requires_grad=True)
    alpha = path.alpha(t)
    variance = (alpha * path.sigma(t)) ** 2
    slopes = path.drift(t) * alpha, 2 * path.drift(t) * variance + path.squared_diffusion(t)
    for value, slope in zip((alpha, variance), slopes, strict=True):
        torch.testing.assert_close(torch.autograd.grad(value.sum(), t, retain_graph=True)[0], slope)
    torch.testing.assert_close(path.time(path.sigma(t)), t)


def test_latent_noise_adds_its_variance_to_that_of_the_noise_at_the_start() -> None:
    s = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    path = StraightPath(latent=2.0)
    # (1 - s)^2 + 2 s (1 - s) = 1 - s^2.
    torch.testing.assert_close((path.alpha(1 - s) * path.sigma(1 - s)) ** 2, 1 - s**2, atol=5e-3, rtol=0)


class Field(nn.Module):
    """A raw network that is a known vector field and depends only on the point."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.stack([x[:, 1].sin(), 0.5 * x[:, 0]], dim=1)


def test_loss_along_an_arc_is_the_squared_error_of_the_velocity(generator: Generator) -> None:
    x, z = (torch.randn((50, 2), generator=generator(k), dtype=torch.float64) for k in (1, 2))
    path, t = TrigonometricPath(1e-6), torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    angle = (math.pi / 2 * t).unsqueeze(1)
    point, velocity = angle.cos() * x + angle.sin() * z, math.pi / 2 * (angle.cos() * z - angle.sin() * x)
    # The preconditioned network is the velocity towards the data per angle.
    expected = (math.pi / 2 * -Field()(point, t) - velocity).square().mean()
    found = interpolant_loss(Preconditioned(Field()), x, z, t, path)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_loss_with_latent_noise_is_least_for_the_velocity_of_the_path(gaussian: Any, generator: Generator) -> None:
    # In a linear Gaussian model the regression of the velocity x - z + d gamma / ds z' on the point is known. With both
    # noises as one, the velocity varies less, and by the regression the same is explained.
    path, a, s = StraightPath(1e-6, latent=2.0), 2.0, 0.7
    gamma = math.sqrt(a * s * (1 - s))
    covariance, identity = gaussian.covariance, torch.eye(3, dtype=torch.float64)
    point = s**2 * covariance + ((1 - s) ** 2 + gamma**2) * identity
    cross = s * covariance + (s - 1 + a * (1 - 2 * s) / 2) * identity  # gamma dgamma / ds = a (1 - 2 s) / 2
    step = 1e-6
    lengths = [math.sqrt((1 - r) ** 2 + a * r * (1 - r)) for r in (s - step, s + step)]
    total = covariance + ((lengths[1] - lengths[0]) / (2 * step)) ** 2 * identity
    residual = (total - cross @ torch.linalg.inv(point) @ cross.T).trace() / 3
    x, z = gaussian.points(100_000, 1), torch.randn((100_000, 3), generator=generator(2), dtype=torch.float64)
    found = interpolant_loss(gaussian.denoiser(), x, z, torch.full((len(x),), 1 - s, dtype=torch.float64), path)
    assert float(found) == pytest.approx(float(residual), rel=0.01)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("epsilon", "kept"), [(0.0, 0.94), (0.5, 0.65), (3.0, 0.12)])
def test_samples_have_the_distribution_of_the_data_with_any_coefficient(
    path: Diffusion,
    epsilon: float,
    kept: float,
    gaussian: Any,
    generator: Generator,
    context: Context,
) -> None:
    sampler = FlowSde(steps=150, epsilon=epsilon, denoise=False)
    ctx = context(FlowMatching, shape=(3,), sampler=sampler)
    noise = torch.randn((6_000, 3), generator=generator(1), dtype=torch.float64)
    samples = sampler.draw(gaussian.denoiser(), noise, path, ctx)
    torch.testing.assert_close(samples.T.cov(), gaussian.covariance, atol=0.07, rtol=0)
    # The larger the coefficient, the less the samples keep of the noise that they start from.
    correlation = torch.corrcoef(torch.stack([noise[:, 0], samples[:, 0]]))[0, 1]
    assert float(correlation) == pytest.approx(kept, abs=0.06)


def test_euler_steps_along_an_arc_are_those_of_the_angle(generator: Generator, context: Context) -> None:
    z, steps = torch.randn((20, 2), generator=generator(), dtype=torch.float64), 8
    x = z
    angle = math.pi / 2 / steps
    for _ in range(steps - 1):
        x = x + angle * Field()(x, z[:, 0])
    x = math.cos(angle) * x + math.sin(angle) * Field()(x, z[:, 0])  # the last step ends at the denoised point
    sampler = FlowEuler(steps=steps)
    found = sampler.draw(Preconditioned(Field()), z, TrigonometricPath(1e-6), context(FlowMatching, sampler=sampler))
    torch.testing.assert_close(found, x, atol=1e-4, rtol=0)


def test_the_loss_with_latent_noise_is_the_mean_over_even_times(gaussian: Any, generator: Generator) -> None:
    """Times near the data are drawn more often, and the weights undo it."""
    a, edge, count = 1.0, 0.01, 200_000
    options, x = FlowMatching.Config(latent=a, edge=edge), gaussian.points(count, 1)
    z = torch.randn(x.shape, generator=generator(2), dtype=torch.float64)
    t, weight = options.times(count, generator(3))
    found = interpolant_loss(gaussian.denoiser(), x, z, t, options.interpolant(), weight)
    variances = torch.linalg.eigvalsh(gaussian.covariance).numpy()

    def error(s: float) -> float:
        """The mean squared error of the velocity per coordinate: (s dsigma/ds)^2 times the variance that is left."""
        variance = (1 - s) ** 2 + a * s * (1 - s)
        slope = (-2 * (1 - s) + a * (1 - 2 * s)) / (2 * math.sqrt(variance)) - math.sqrt(variance) / s
        return slope**2 * float((variances / (variances + variance / s**2)).mean())

    width = 1 - edge - edge**2
    expected = width * integrate.quad(error, edge, 1 - edge**2, limit=200)[0]
    assert float(found) == pytest.approx(expected, rel=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"path": "trigonometric"}, {"latent": 1.0}])
def test_trained_interpolants_have_the_density_of_the_data(
    options: dict[str, Any], context: Context, pair: Any
) -> None:
    model = FlowMatching(FlowMatching.Config(hidden=(64, 64), **options))
    recipe = FlowMatching.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=800))
    model.fit(trilemma.Split(pair.points(4_000, 1)), context(FlowMatching, clock=clock, recipe=recipe))
    x = pair.points(2_000, 3)
    ratio = model.log_prob(x, context(FlowMatching)) - pair.log_prob(x)
    assert ratio.exp().mean() == pytest.approx(1, abs=0.06)
    assert -0.02 < -ratio.mean() < 0.12
    for sampler in (Heun(), FlowSde(steps=100)):
        samples = model.sample(3_000, context(FlowMatching, sampler=sampler))
        assert float((samples[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
        assert float(samples[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.08)


def test_latent_noise_is_for_the_linear_path() -> None:
    with pytest.raises(ValueError, match="path 'linear'"):
        FlowMatching.Config(path="trigonometric", latent=1.0)
