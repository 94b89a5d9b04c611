"""What diffusion models share (schedules, solvers, ODE likelihood), on Gaussian data whose denoiser is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.adaptive import BrownianPaths, dormand_prince, gotta_go_fast
from trilemma.plugins.diffusion.bounds import continuous_bound, discrete_bound
from trilemma.plugins.diffusion.denoiser import (
    DenoiserSampler,
    NoisePrediction,
    Preconditioned,
    noise_residual,
    probability_flow,
    score,
    to_variance_exploding,
)
from trilemma.plugins.diffusion.likelihood import OdeLikelihood, integrate, ode_log_prob
from trilemma.plugins.diffusion.ode import Churn, ddim, dpm_solver_2m, heun, midpoint
from trilemma.plugins.diffusion.ode_samplers import ODE_SAMPLERS, DpmSolver2M, StochasticHeun
from trilemma.plugins.diffusion.schedules import (
    Diffusion,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    geometric_grid,
    rho_grid,
)
from trilemma.plugins.diffusion.sde import euler_maruyama_step, langevin_correction, marginal_score, predictor_corrector
from trilemma.plugins.diffusion.sde_samplers import SDE_SAMPLERS, EulerMaruyama, PredictorCorrector, start
from trilemma.plugins.networks.divergence import exact_divergence, probe_divergence
from trilemma.plugins.networks.points import rademacher, standard_normal, stratified

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


DIFFUSIONS = [VariancePreserving(), SubVariancePreserving(), VarianceExploding(0.01, 30.0)]


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
@given(st.floats(1e-3, 1))
@settings(max_examples=30, deadline=None)
def test_marginals_solve_the_equations_of_the_diffusion(diffusion: Diffusion, time: float) -> None:
    t = torch.tensor(time, dtype=torch.float64, requires_grad=True)
    alpha = diffusion.alpha(t)
    # d/dt E[x] = f E[x] and d/dt Var[x] = 2 f Var[x] + g^2.
    slope = torch.autograd.grad(alpha.sum() + 0 * t, t, retain_graph=True)[0]
    torch.testing.assert_close(slope, diffusion.drift(t) * alpha)
    variance = (alpha * diffusion.sigma(t)) ** 2
    slope = torch.autograd.grad(variance, t)[0]
    torch.testing.assert_close(slope, 2 * diffusion.drift(t) * variance + diffusion.squared_diffusion(t))


def test_variances_at_the_ends_are_those_of_the_paper() -> None:
    t = torch.tensor([0.2, 0.7, 1.0], dtype=torch.float64)
    vp, sub = VariancePreserving(), SubVariancePreserving()
    torch.testing.assert_close(vp.alpha(t) ** 2 * (1 + vp.sigma(t) ** 2), torch.ones(3).double())
    torch.testing.assert_close(sub.alpha(t) * sub.sigma(t), -(-sub.integral(t)).expm1())
    assert VarianceExploding(0.01, 30.0).sigma_max == pytest.approx(30.0)


@pytest.mark.parametrize("diffusion", DIFFUSIONS[:2])
def test_marginals_agree_with_a_simulation_of_the_diffusion(diffusion: Diffusion) -> None:
    steps, x0 = 400, 1.7
    x, noise = torch.full((20_000,), x0, dtype=torch.float64), generator(1)
    for t in torch.linspace(0, 0.5, steps + 1, dtype=torch.float64)[:-1] + 0.5 / steps / 2:
        dt = 0.5 / steps
        x = x + diffusion.drift(t) * x * dt + (diffusion.squared_diffusion(t) * dt).sqrt() * standard_normal(x, noise)
    end = torch.tensor(0.5, dtype=torch.float64)
    assert float(x.mean()) == pytest.approx(float(diffusion.alpha(end)) * x0, abs=0.03)
    assert float(x.var()) == pytest.approx(float((diffusion.alpha(end) * diffusion.sigma(end)) ** 2), rel=0.04)


def test_geometric_grid_has_one_ratio() -> None:
    grid = geometric_grid(5, 0.01, 100.0)
    torch.testing.assert_close(grid, torch.tensor([100.0, 10.0, 1.0, 0.1, 0.01], dtype=torch.float64))


@given(st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_stratified_numbers_fall_one_in_each_part(n: int) -> None:
    assert torch.equal((stratified(n, generator(n)) * n).floor(), torch.arange(n).float())


def test_the_multistep_solver_takes_noise_levels_in_a_constant_ratio() -> None:
    sigmas = DpmSolver2M(steps=9, sigma_min=0.01).grid(VarianceExploding(highest=40.0))
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([40.0, 0.01], dtype=torch.float64))
    ratio = sigmas[1:] / sigmas[:-1]
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio))


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
    distribution = torch.distributions.MultivariateNormal(torch.zeros(3).double(), COVARIANCE + 0.49 * torch.eye(3))
    expected = torch.autograd.grad(distribution.log_prob(x).sum(), x)[0]
    torch.testing.assert_close(score(denoise, x, sigma), expected, atol=1e-6, rtol=1e-6)
    # In coordinates u = x cos(phi), sigma = tan(phi), the distribution is N(0, I + cos^2 (covariance - I)), and its
    # flow at u is half the logarithmic derivative of the covariance in phi: a check by finite differences of the matrix
    # root.
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


class Echo(nn.Module):
    """A raw network that says its input."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return x


def test_noise_prediction_subtracts_the_predicted_noise() -> None:
    x, sigma = torch.randn((4, 3), generator=generator()).double(), torch.tensor([0.3, 1.0, 2.0, 9.0]).double()
    s = sigma.unsqueeze(1)
    torch.testing.assert_close(NoisePrediction(Echo())(x, sigma), x - s * x / (1 + s**2).sqrt())


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


def errors_of(solve: object, grids: list[Tensor]) -> list[float]:
    """The largest error of a solver of the ODE on each grid against the exact flow, beyond what the last step adds."""
    u = torch.randn((50, 3), generator=generator(), dtype=torch.float64)
    exact = end_of_gaussian_flow(u, 10.0)
    return [float((solve(GaussianDenoiser(COVARIANCE), u, grid) - exact).abs().max()) for grid in grids]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("solve", "order", "rho"), [(ddim, 1, 7.0), (heun, 2, 7.0), (midpoint, 2, 7.0), (dpm_solver_2m, 2, 0.0)]
)
def test_solvers_converge_with_their_order(solve: object, order: int, rho: float) -> None:
    # The multistep method's order is that of even steps in ln(sigma).
    grids = [rho_grid(steps, 1e-5, 10.0, rho) if rho else geometric_grid(steps, 1e-5, 10.0) for steps in (65, 129, 257)]
    errors = errors_of(solve, grids)
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(order - 0.25 < found < order + 0.35 for found in orders), orders


def test_dormand_prince_keeps_its_tolerance_and_has_order_five() -> None:
    def field(y: Tensor, t: Tensor) -> Tensor:
        return torch.stack([y[:, 1], -y[:, 0]], dim=1) * (1 + t.cos()).unsqueeze(1)

    y = torch.randn((20, 2), generator=generator(), dtype=torch.float64)
    turn = torch.tensor(3 + math.sin(3), dtype=torch.float64)
    rotation = torch.stack([torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])])
    costs, errors = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        end, evaluations = dormand_prince(field, y, 0.0, 3.0, rtol=tolerance, atol=tolerance)
        errors.append(float((end - y @ rotation.T).abs().max()))
        costs.append(float(evaluations.double().mean()))
        assert errors[-1] < 20 * tolerance
    # The error of order 5 falls with the fifth power of the number of steps.
    assert math.log(errors[0] / errors[2]) / math.log(costs[2] / costs[0]) > 4


def test_adaptive_solvers_do_not_couple_samples() -> None:
    denoise, diffusion = GaussianDenoiser(COVARIANCE), VariancePreserving()
    u = torch.randn((6, 3), generator=generator(), dtype=torch.float64)
    ends = [math.atan(80.0), math.atan(0.002)]

    def field(y: Tensor, angle: Tensor) -> Tensor:
        return probability_flow(denoise, y, angle.tan())

    together, evaluations = dormand_prince(field, u, *ends, rtol=1e-4, atol=1e-4)
    for i in range(6):
        alone, cost = dormand_prince(field, u[i : i + 1], *ends, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone[0], together[i])
        assert cost[0] == evaluations[i]
    assert gotta_go_fast(denoise, u, diffusion, generator(), eps=1e-3, rtol=0.05, atol=0.01)[1].unique().numel() > 1


def test_churn_keeps_the_distribution_and_no_churn_is_heun() -> None:
    denoise, grid = GaussianDenoiser(COVARIANCE), rho_grid(18, 0.002, 80.0)
    u = torch.randn((20_000, 3), generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(heun(denoise, u, grid, Churn(0.0), generator()), heun(denoise, u, grid))
    stirred = heun(denoise, u, grid, Churn(20.0, 0.05, 50.0), generator(1))
    assert float((stirred - heun(denoise, u, grid)).abs().max()) > 0.1
    torch.testing.assert_close(stirred.T.cov(), COVARIANCE, atol=0.04, rtol=0)


def test_ancestral_steps_draw_from_the_posterior_of_a_known_point() -> None:
    # A denoiser that knows x_0 turns every step into q(x_s | x_t, x_0): at s the distribution is N(x_0, s^2) again.
    center = torch.tensor([0.7, -0.2], dtype=torch.float64)
    seen: list[Tensor] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((x - center) / sigma)
        return center.expand_as(x)

    u = torch.randn((40_000, 2), generator=generator(2), dtype=torch.float64)
    sigmas = torch.tensor([300.0, 5.0, 2.0, 0.3], dtype=torch.float64)
    ddim(denoise, u, sigmas, 1.0, generator(3))
    for state in seen[1:]:
        torch.testing.assert_close(state.T.cov(), torch.eye(2).double(), atol=0.03, rtol=0)
    # The part of the noise that is kept from t to s is s / t.
    assert float((seen[1] * seen[2]).mean()) == pytest.approx(2 / 5, abs=0.02)


def context(sampler: DenoiserSampler, seed: int = 0) -> trilemma.Context:
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(3,), n_train=10)
    return trilemma.Context(info=info, device=torch.device("cpu"), generator=generator(seed), sampler=sampler)


ALL_SAMPLERS = [*ODE_SAMPLERS, StochasticHeun, *SDE_SAMPLERS]
FINE = {
    "gotta-go-fast": {"rtol": 0.02},
    "langevin-corrector": {"steps": 1500, "snr": 0.45},
    "dormand-prince": {},
}


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_samples_have_the_moments_of_the_data(kind: type[DenoiserSampler], diffusion: Diffusion) -> None:
    sampler = kind(**FINE.get(kind.name, {"steps": 400}))
    noise = torch.randn((10_000, 3), generator=generator(3), dtype=torch.float64)
    samples = sampler.draw(GaussianDenoiser(COVARIANCE), noise, diffusion, context(sampler, 4))
    torch.testing.assert_close(samples.mean(0), torch.zeros(3).double(), atol=0.045, rtol=0)
    torch.testing.assert_close(samples.T.cov(), COVARIANCE, atol=0.06, rtol=0)


@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_samplers_treat_images_as_vectors(kind: type[DenoiserSampler]) -> None:
    raw = Preconditioned(Silent())
    sampler = kind(**({"steps": 6} if "steps" in kind.model_fields else {}))
    flat = torch.randn((5, 12), generator=generator(), dtype=torch.float64)
    images = sampler.draw(raw, flat.reshape(5, 3, 2, 2), VariancePreserving(), context(sampler)).flatten(1)
    torch.testing.assert_close(images, sampler.draw(raw, flat, VariancePreserving(), context(sampler)))


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
def test_langevin_corrections_leave_the_marginal_as_it_is(diffusion: Diffusion) -> None:
    t = torch.tensor(0.4, dtype=torch.float64)
    alpha, sigma = diffusion.alpha(t), diffusion.sigma(t)
    distribution = alpha**2 * (COVARIANCE + sigma**2 * torch.eye(3))
    x = gaussian_points(20_000, distribution, 8)
    moved = langevin_correction(
        GaussianDenoiser(COVARIANCE), x, diffusion, t, snr=0.1, steps=30, generator=generator(9)
    )
    assert float((moved - x).square().mean() / distribution.trace()) > 0.01
    torch.testing.assert_close(moved.T.cov(), distribution, atol=float(0.04 * distribution.max()), rtol=0)


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
def test_marginal_score_is_that_of_the_diffused_gaussian(diffusion: Diffusion) -> None:
    t, x = torch.tensor(0.3, dtype=torch.float64), gaussian_points(7, COVARIANCE)
    distribution = diffusion.alpha(t) ** 2 * (COVARIANCE + diffusion.sigma(t) ** 2 * torch.eye(3))
    expected = -x @ torch.linalg.inv(distribution)
    torch.testing.assert_close(marginal_score(GaussianDenoiser(COVARIANCE), x, diffusion, t), expected)
    times = t.expand(7)
    torch.testing.assert_close(marginal_score(GaussianDenoiser(COVARIANCE), x, diffusion, times), expected)


@pytest.mark.parametrize(("solve", "evaluations"), [(heun, 35), (midpoint, 35), (ddim, 18), (dpm_solver_2m, 18)])
def test_solvers_take_the_evaluations_that_they_say(solve: object, evaluations: int) -> None:
    denoise = GaussianDenoiser(COVARIANCE)
    solve(denoise, torch.randn((4, 3), generator=generator()), rho_grid(18, 0.002, 80.0))  # type: ignore[operator]
    assert denoise.calls == evaluations


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [
        (EulerMaruyama(steps=25), 26),
        (EulerMaruyama(steps=25, denoise=False), 25),
        (PredictorCorrector(steps=25), 51),
        (PredictorCorrector(steps=25, corrector_steps=3, denoise=False), 100),
    ],
)
def test_time_samplers_take_the_evaluations_that_they_say(sampler: DenoiserSampler, evaluations: int) -> None:
    denoise = GaussianDenoiser(COVARIANCE)
    sampler.draw(denoise, torch.randn((4, 3), generator=generator()), VariancePreserving(), context(sampler))
    assert denoise.calls == evaluations


@pytest.mark.parametrize("name", ["gotta-go-fast", "dormand-prince"])
def test_adaptive_samplers_count_every_evaluation(name: str) -> None:
    (kind,) = [cls for cls in ALL_SAMPLERS if cls.name == name]
    sampler, rows, exact = kind(), [], GaussianDenoiser(COVARIANCE)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        rows.append(len(x))
        return exact(x, sigma)

    ctx = context(sampler)
    for _ in range(2):
        noise = torch.randn((40, 3), generator=ctx.generator, dtype=torch.float64)
        sampler.draw(denoise, noise, VariancePreserving(), ctx)
    assert ctx.details["drawn"] == 80
    assert ctx.details["nfe_mean"] == pytest.approx(sum(rows) / 80)
    assert ctx.details["nfe_max"] <= max(len(rows) / 2 * 1.5, ctx.details["nfe_mean"] * 3)
    assert ctx.details["nfe_max"] >= ctx.details["nfe_mean"]


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
def test_refused_steps_leave_the_distribution_as_it_is_if_their_noise_is_remembered(diffusion: Diffusion) -> None:
    # The paper draws it anew, which is biased whatever the tolerance; if that changes, the docstring must too.
    noise = torch.randn((4_000, 3), generator=generator(3), dtype=torch.float64)
    x, denoise = start(noise, diffusion), GaussianDenoiser(COVARIANCE)
    ratios = []
    for memory in (True, False):
        samples, _ = gotta_go_fast(denoise, x, diffusion, generator(), eps=1e-3, rtol=0.02, atol=0.01, memory=memory)
        ratios.append(float(samples.T.cov().trace() / COVARIANCE.trace()))
    assert ratios[0] == pytest.approx(1, abs=0.05)
    assert ratios[1] > 1.2


def test_parts_of_a_brownian_path_are_those_of_one_path() -> None:
    x = torch.zeros((40_000, 1), dtype=torch.float64)
    h = torch.ones(len(x), dtype=torch.float64)
    paths = BrownianPaths(x, generator())
    everything = torch.ones(len(x), dtype=torch.bool)
    _, whole = paths.draw(h, x)
    paths.put_back(everything, h, whole)
    _, first = paths.draw(0.5 * h, x)
    paths.put_back(everything, 0.5 * h, first)
    parts = [paths.draw(length * h, x) for length in (0.2, 0.7, 5.0)]
    # A step does not reach past what is known of the path.
    for (found, _), expected in zip(parts, (0.2, 0.3, 0.5), strict=True):
        torch.testing.assert_close(found, expected * h)
    a, b, c = (part for _, part in parts)
    torch.testing.assert_close(a + b, first)
    torch.testing.assert_close(a + b + c, whole)
    distribution = torch.cat([a, b, c, paths.draw(2 * h, x)[1]], dim=1).T.cov()
    torch.testing.assert_close(distribution, torch.diag(torch.tensor([0.2, 0.3, 0.5, 2.0])).double(), atol=0.03, rtol=0)


def test_euler_maruyama_has_weak_order_one() -> None:
    # For one-dimensional Gaussian data a step multiplies the variance by a known factor: no sampling error.
    variance = torch.tensor([[0.3]], dtype=torch.float64)
    diffusion, errors = VariancePreserving(0.1, 5.0), []
    for steps in (50, 100, 200):
        times, distribution = torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64), 0.0
        distribution = float(diffusion.alpha(times[0]) ** 2 * (0.3 + diffusion.sigma(times[0]) ** 2))
        for t, t_next in itertools.pairwise(times):
            x = torch.ones((1, 1), dtype=torch.float64)
            draws = [
                euler_maruyama_step(GaussianDenoiser(variance), k * x, diffusion, t, t_next, generator(1))
                for k in (0.0, 1.0)
            ]
            distribution = float((draws[1] - draws[0]) ** 2) * distribution + float(
                diffusion.squared_diffusion(t) * (t - t_next)
            )
        exact = float(diffusion.alpha(times[-1]) ** 2 * (0.3 + diffusion.sigma(times[-1]) ** 2))
        errors.append(abs(distribution - exact))
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(0.8 < order < 1.2 for order in orders), orders


def test_predictor_corrector_without_predictor_follows_the_scale() -> None:
    x = torch.randn((5, 3), generator=generator(), dtype=torch.float64)
    times, diffusion = torch.tensor([0.8, 0.2], dtype=torch.float64), VariancePreserving()
    moved = predictor_corrector(
        GaussianDenoiser(COVARIANCE), x, diffusion, times, generator(), predictor=None, corrector_steps=0
    )
    torch.testing.assert_close(moved, x * diffusion.alpha(times[1]) / diffusion.alpha(times[0]))


# Likelihood


def closed_form(x: Tensor, sigma: float) -> Tensor:
    covariance = COVARIANCE + sigma**2 * torch.eye(3, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_gaussian_data_has_the_closed_form_likelihood(divergence: str) -> None:
    x = gaussian_points(200, COVARIANCE, 5)
    options = OdeLikelihood(steps=40, divergence=divergence, probes=64)  # type: ignore[arg-type]
    values, details = ode_log_prob(GaussianDenoiser(COVARIANCE), x, 150.0, options, generator())
    error = values - closed_form(x, options.sigma_min)
    if divergence == "exact":
        assert error.abs().max() < 2e-4
    else:
        assert 0.5 < float(error.square().mean().sqrt()) / details["probe_standard_error"] < 2


def test_details_tell_how_the_likelihood_was_computed() -> None:
    x = gaussian_points(5, COVARIANCE)
    _, details = ode_log_prob(
        GaussianDenoiser(COVARIANCE), x, 50.0, OdeLikelihood(steps=7, sigma_min=0.01), generator()
    )
    assert details == {"solver": "rk4", "steps": 7, "eps": 0.01, "sigma_max": 50.0, "divergence": "exact"}


def test_likelihood_solver_converges_with_order_four() -> None:
    x = gaussian_points(50, COVARIANCE, 6)
    values = [
        ode_log_prob(GaussianDenoiser(COVARIANCE), x, 150.0, OdeLikelihood(steps=steps), generator())[0]
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


# Bounds


def test_the_bound_of_the_exact_denoiser_is_close_and_never_above_the_density() -> None:
    x = gaussian_points(16_000, COVARIANCE, 9)
    truth = closed_form(x, 0.0).mean()
    denoise = GaussianDenoiser(COVARIANCE)
    fine = continuous_bound(denoise, x, 0.01, 80.0, 6, generator())
    assert -0.04 < float(fine.total.mean() - truth) < 0.02
    # The sum over finitely many steps costs more, in inverse proportion to their number.
    costs = [
        float(fine.total.mean() - discrete_bound(denoise, x, geometric_grid(n, 0.01, 80.0), generator()).total.mean())
        for n in (31, 61, 121)
    ]
    assert costs[2] > 0.3
    for first, second in itertools.pairwise(costs):
        assert first / second == pytest.approx(2, abs=0.35)


def test_terms_of_the_bound_add_up_and_prior_vanishes_at_much_noise() -> None:
    x = gaussian_points(50, COVARIANCE)
    bound = discrete_bound(GaussianDenoiser(COVARIANCE), x, geometric_grid(10, 0.01, 300.0), generator())
    torch.testing.assert_close(bound.total, -(bound.prior + bound.diffusion + bound.reconstruction))
    assert 0 < bound.means()["prior"] < 1e-3
    distribution = torch.distributions.Normal(0.0, math.sqrt(1 + 2.0**2))
    posterior = torch.distributions.Normal(x, 2.0)
    expected = torch.distributions.kl_divergence(posterior, distribution).sum(1)
    coarse = discrete_bound(GaussianDenoiser(COVARIANCE), x, torch.tensor([2.0, 1.0]).double(), generator())
    torch.testing.assert_close(coarse.prior, expected)


def test_bound_of_a_worse_denoiser_is_lower() -> None:
    x = gaussian_points(2_000, COVARIANCE)
    good = continuous_bound(GaussianDenoiser(COVARIANCE), x, 0.01, 80.0, 2, generator())
    poor = continuous_bound(GaussianDenoiser(torch.eye(3).double()), x, 0.01, 80.0, 2, generator())
    # The excess is the KL divergence from N(0, COVARIANCE) to N(0, I), as the denoiser is exact for the latter.
    kl = 0.5 * (COVARIANCE.trace() - 3 - COVARIANCE.logdet())
    assert float(good.total.mean() - poor.total.mean()) == pytest.approx(float(kl), abs=0.06)


def test_change_of_coordinates_keeps_unit_variance_data_standard() -> None:
    u = torch.ones((2, 3), dtype=torch.float64)
    torch.testing.assert_close(
        to_variance_exploding(u, torch.tensor([0.0, 3.0]))[:, 0], torch.tensor([1.0, math.sqrt(10)]).double()
    )
