"""What diffusion models share (schedules, solvers, ODE likelihood), on Gaussian data whose denoiser is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trilemma.plugins.denoiser import Preconditioned, noise_residual, probability_flow, score, standard_normal
from trilemma.plugins.ode_likelihood import (
    OdeDensity,
    exact_divergence,
    integrate,
    ode_log_prob,
    probe_divergence,
    rademacher,
)
from trilemma.plugins.schedules import VariancePreserving, rho_grid
from trilemma.plugins.solvers import euler_maruyama, heun

COVARIANCE = torch.tensor([[1.0, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.3]], dtype=torch.float64)


class GaussianDenoiser:
    """The exact denoiser of N(0, covariance): covariance (covariance + sigma^2 I)^-1 x."""

    def __init__(self, covariance: Tensor) -> None:
        self.variances, self.axes = torch.linalg.eigh(covariance)
        self.calls = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        variance = sigma.double().reshape(-1, 1) ** 2
        return ((x.double() @ self.axes) * self.variances / (self.variances + variance) @ self.axes.T).to(x)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_points(n: int, covariance: Tensor, seed: int = 0) -> Tensor:
    factor = torch.linalg.cholesky(covariance)
    return torch.randn((n, len(covariance)), generator=generator(seed), dtype=torch.float64) @ factor.T


# Schedules


@given(st.floats(1e-3, 1), st.floats(0.01, 1), st.floats(2, 30))
@settings(max_examples=40, deadline=None)
def test_vp_marginals_solve_the_equations_of_the_diffusion(time: float, beta_min: float, beta_max: float) -> None:
    schedule = VariancePreserving(beta_min, beta_max)
    t = torch.tensor(time, dtype=torch.float64, requires_grad=True)
    scale, sigma = schedule.scale(t), schedule.sigma(t)
    # d/dt E[x] = -beta/2 E[x] and d/dt Var[x] = beta (1 - Var[x]).
    mean_slope = torch.autograd.grad(scale, t, retain_graph=True)[0]
    torch.testing.assert_close(mean_slope, -0.5 * schedule.beta(t) * scale)
    variance = (scale * sigma) ** 2
    slope = torch.autograd.grad(variance, t)[0]
    torch.testing.assert_close(slope, schedule.beta(t) * (1 - variance))
    torch.testing.assert_close(scale**2 + variance, torch.ones_like(scale))


def test_vp_marginals_agree_with_a_simulation_of_the_diffusion() -> None:
    schedule, steps, x0 = VariancePreserving(), 400, 1.7
    x, noise = torch.full((20_000,), x0, dtype=torch.float64), generator(1)
    for t in torch.linspace(0, 0.5, steps + 1, dtype=torch.float64)[:-1] + 0.5 / steps / 2:
        step = schedule.beta(t) * 0.5 / steps
        x = x - 0.5 * step * x + step.sqrt() * standard_normal(x, noise)
    end = torch.tensor(0.5, dtype=torch.float64)
    assert float(x.mean()) == pytest.approx(float(schedule.scale(end)) * x0, abs=0.03)
    assert float(x.var()) == pytest.approx(float((schedule.scale(end) * schedule.sigma(end)) ** 2), rel=0.04)


def test_rho_grid_runs_between_its_ends() -> None:
    grid = rho_grid(18, 0.002, 80.0)
    assert len(grid) == 18
    torch.testing.assert_close(grid[[0, -1]], torch.tensor([80.0, 0.002], dtype=torch.float64))
    assert (grid.diff() < 0).all()
    torch.testing.assert_close(
        rho_grid(5, 1.0, 5.0, rho=1.0), torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    )


# The denoiser and its views


def test_score_and_flow_of_gaussian_data() -> None:
    denoise, x, sigma = GaussianDenoiser(COVARIANCE), gaussian_points(20, COVARIANCE), torch.tensor(0.7)
    x = x.requires_grad_()
    law = torch.distributions.MultivariateNormal(torch.zeros(3).double(), COVARIANCE + 0.49 * torch.eye(3))
    expected = torch.autograd.grad(law.log_prob(x).sum(), x)[0]
    torch.testing.assert_close(score(denoise, x, sigma), expected, atol=1e-6, rtol=1e-6)
    # In coordinates u = x cos(phi), sigma = tan(phi), the law is N(0, I + cos^2 (covariance - I)), and its flow at u is
    # half the logarithmic derivative of the covariance in phi: a check by finite differences of the matrix root.
    phi, h = torch.tensor(0.7).double().atan(), 1e-5

    def root(angle: Tensor) -> Tensor:
        variances, axes = torch.linalg.eigh(COVARIANCE)
        return axes @ torch.diag((1 + angle.cos() ** 2 * (variances - 1)).sqrt()) @ axes.T

    u = x.detach() * phi.cos()
    transport = (root(phi + h) - root(phi - h)) / (2 * h) @ torch.linalg.inv(root(phi))
    torch.testing.assert_close(probability_flow(denoise, u, phi.tan()), u @ transport.T, atol=1e-6, rtol=1e-6)


class Silent(nn.Module):
    """A raw network that says nothing."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_preconditioning_without_a_network_is_the_denoiser_of_the_standard_normal() -> None:
    x = torch.randn((9, 2, 4, 4), generator=generator(), dtype=torch.float64)
    sigma = torch.linspace(0.1, 3, 9, dtype=torch.float64)
    expected = x / (1 + sigma**2).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(Preconditioned(Silent())(x, sigma), expected)


def test_noise_residual_is_the_weighted_score_matching_error() -> None:
    denoise, x, sigma = GaussianDenoiser(COVARIANCE), gaussian_points(6, COVARIANCE), torch.linspace(0.2, 2, 6).double()
    noise = torch.randn(x.shape, generator=generator(), dtype=torch.float64)
    s = sigma.unsqueeze(1)
    error = score(denoise, x + s * noise, sigma) + noise / s
    torch.testing.assert_close(noise_residual(denoise, x, noise, sigma), sigma**2 * error.square().sum(1))


# Solvers


def end_of_gaussian_flow(u: Tensor, sigma: float) -> Tensor:
    """Where the probability-flow ODE of N(0, COVARIANCE) carries `u = x / sqrt(1 + sigma^2)` from `sigma` to 0."""
    variances, axes = torch.linalg.eigh(COVARIANCE)
    return (u @ axes) * (variances * (1 + sigma**2) / (variances + sigma**2)).sqrt() @ axes.T


def test_heun_converges_with_order_two() -> None:
    u = torch.randn((50, 3), generator=generator(), dtype=torch.float64)
    exact = end_of_gaussian_flow(u, 10.0)
    errors = [
        float((heun(GaussianDenoiser(COVARIANCE), u, rho_grid(steps, 1e-5, 10.0)) - exact).abs().max())
        for steps in (33, 65, 129)
    ]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(1.8 < order < 2.3 for order in orders), orders


def test_heun_samples_have_the_moments_of_the_data() -> None:
    u = torch.randn((40_000, 3), generator=generator(2), dtype=torch.float64)
    samples = heun(GaussianDenoiser(COVARIANCE), u, rho_grid(18, 0.002, 80.0))
    torch.testing.assert_close(samples.T.cov(), COVARIANCE, atol=0.03, rtol=0)


def test_euler_maruyama_samples_have_the_moments_of_the_data() -> None:
    schedule, times = VariancePreserving(), torch.linspace(1, 1e-3, 501, dtype=torch.float64)
    x = torch.randn((20_000, 3), generator=generator(3), dtype=torch.float64)
    samples = euler_maruyama(GaussianDenoiser(COVARIANCE), x, schedule, times, generator(4))
    torch.testing.assert_close(samples.mean(0), torch.zeros(3).double(), atol=0.04, rtol=0)
    torch.testing.assert_close(samples.T.cov(), COVARIANCE, atol=0.05, rtol=0)


def test_solvers_take_the_evaluations_that_they_say() -> None:
    x = torch.randn((4, 3), generator=generator())
    denoise = GaussianDenoiser(COVARIANCE)
    heun(denoise, x, rho_grid(18, 0.002, 80.0))
    assert denoise.calls == 35
    denoise.calls = 0
    euler_maruyama(denoise, x, VariancePreserving(), torch.linspace(1, 1e-3, 26), generator())
    assert denoise.calls == 25


def test_solvers_treat_images_as_vectors() -> None:
    raw = Preconditioned(Silent())
    flat = torch.randn((5, 12), generator=generator(), dtype=torch.float64)
    sigmas, times = rho_grid(6, 0.01, 5.0), torch.linspace(1, 1e-3, 9)
    image = flat.reshape(5, 3, 2, 2)
    torch.testing.assert_close(heun(raw, image, sigmas).flatten(1), heun(raw, flat, sigmas))
    first = euler_maruyama(raw, image, VariancePreserving(), times, generator(1)).flatten(1)
    torch.testing.assert_close(first, euler_maruyama(raw, flat, VariancePreserving(), times, generator(1)))


# Likelihood


def closed_form(x: Tensor, sigma: float) -> Tensor:
    covariance = COVARIANCE + sigma**2 * torch.eye(3, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_gaussian_data_has_the_closed_form_likelihood(divergence: str) -> None:
    x = gaussian_points(200, COVARIANCE, 5)
    options = OdeDensity(steps=40, divergence=divergence, probes=64)  # type: ignore[arg-type]
    values, details = ode_log_prob(GaussianDenoiser(COVARIANCE), x, 150.0, options, generator())
    error = values - closed_form(x, options.sigma_min)
    if divergence == "exact":
        assert error.abs().max() < 2e-4
    else:
        assert 0.5 < float(error.square().mean().sqrt()) / details["probe_standard_error"] < 2


def test_details_tell_how_the_likelihood_was_computed() -> None:
    x = gaussian_points(5, COVARIANCE)
    _, details = ode_log_prob(GaussianDenoiser(COVARIANCE), x, 50.0, OdeDensity(steps=7, sigma_min=0.01), generator())
    assert details == {"solver": "rk4", "steps": 7, "eps": 0.01, "sigma_max": 50.0, "divergence": "exact"}


def test_likelihood_solver_converges_with_order_four() -> None:
    x = gaussian_points(50, COVARIANCE, 6)
    values = [
        ode_log_prob(GaussianDenoiser(COVARIANCE), x, 150.0, OdeDensity(steps=steps), generator())[0]
        for steps in (8, 16, 32, 256)
    ]
    errors = [float((value - values[-1]).abs().max()) for value in values[:-1]]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(3.5 < order < 5.5 for order in orders), orders


def curl(x: Tensor) -> Tensor:
    """A field that is neither linear nor a gradient."""
    return torch.stack([x[:, 0] * x[:, 1], x[:, 1].sin() + x[:, 2], x[:, 2] ** 3 - x[:, 0], x[:, 3] * x[:, 0]], dim=1)


def test_exact_divergence_is_the_trace_of_the_jacobian() -> None:
    x = torch.randn((6, 4), generator=generator(), dtype=torch.float64)
    value, divergence = exact_divergence(curl, x)
    traces = [torch.autograd.functional.jacobian(lambda p: curl(p[None])[0], p).trace() for p in x]
    torch.testing.assert_close(divergence, torch.stack(traces))
    torch.testing.assert_close(value, curl(x))


def test_exact_divergence_is_the_mean_over_all_sign_probes() -> None:
    x = torch.randn((6, 4), generator=generator(), dtype=torch.float64)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    value, estimates = probe_divergence(curl, x, signs.unsqueeze(1).expand(16, 6, 4))
    torch.testing.assert_close(estimates.mean(0), exact_divergence(curl, x)[1])
    torch.testing.assert_close(value, curl(x))


def test_rademacher_probes_are_signs_of_mean_zero() -> None:
    probes = rademacher((50, 200), torch.zeros(1, dtype=torch.float64), generator())
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    assert probes.dtype == torch.float64
    assert abs(float(probes.mean())) < 0.05


def test_integration_carries_points_along_the_flow() -> None:
    x = gaussian_points(20, COVARIANCE, 7)
    log_sigmas = torch.linspace(math.log(1e-4), math.log(20.0), 61, dtype=torch.float64)
    end, _ = integrate(GaussianDenoiser(COVARIANCE), x, log_sigmas, exact_divergence)
    torch.testing.assert_close(end_of_gaussian_flow(end, 20.0), x, atol=1e-5, rtol=1e-5)
