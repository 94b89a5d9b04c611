"""Solvers against second implementations, written from the papers in numpy and in the papers' coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import trilemma
from trilemma.plugins.diffusion.denoiser import DenoiserSampler
from trilemma.plugins.diffusion.ode import ddim, euler_angle, heun, heun_angle
from trilemma.plugins.diffusion.ode_samplers import DpmSolver2M, Euler, Heun, StochasticHeun
from trilemma.plugins.diffusion.schedules import VarianceExploding, VariancePreserving, geometric_grid, rho_grid

Array = NDArray[np.float64]

STEPS, LOW, HIGH = 18, 0.002, 40.0


def posterior_mean(x: Array, sigma: float, centers: Array, deviation: float) -> Array:
    """E[x_0 | x_0 + sigma z = x] for a mixture, point by point from Bayes' rule."""
    found = []
    for point in x:
        heights = np.exp(-0.5 * ((point - centers) ** 2).sum(1) / (sigma**2 + deviation**2))
        each = (sigma**2 * centers + deviation**2 * point) / (sigma**2 + deviation**2)
        found.append(heights @ each / heights.sum())
    return np.array(found)


def edm_grid(steps: int) -> Array:
    """The noise levels t_0, ..., t_N of Karras et al. 2022, eq. 5, with rho = 7 and t_N = 0."""
    ends = HIGH ** (1 / 7), LOW ** (1 / 7)
    return np.array([(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** 7 for i in range(steps)] + [0.0])


def algorithm_1(x: Array, denoise: Callable[[Array, float], Array], second_order: bool) -> Array:
    """Karras et al. 2022, algorithm 1, with sigma(t) = t and s(t) = 1."""
    t = edm_grid(STEPS)
    for i in range(STEPS):
        d = (x - denoise(x, t[i])) / t[i]
        following = x + (t[i + 1] - t[i]) * d
        if second_order and t[i + 1] != 0:
            d_next = (following - denoise(following, t[i + 1])) / t[i + 1]
            following = x + (t[i + 1] - t[i]) * (d / 2 + d_next / 2)
        x = following
    return x


def algorithm_2(
    x: Array, denoise: Callable[[Array, float], Array], sampler: StochasticHeun, draw: Callable[[], Array]
) -> Array:
    """Karras et al. 2022, algorithm 2."""
    t = edm_grid(STEPS)
    for i in range(STEPS):
        gamma = 0.0
        if sampler.churn_min <= t[i] <= sampler.churn_max:
            gamma = min(sampler.churn / STEPS, math.sqrt(2) - 1)
        t_hat = t[i] + gamma * t[i]
        if gamma > 0:
            x = x + math.sqrt(t_hat**2 - t[i] ** 2) * sampler.inflation * draw()
        d = (x - denoise(x, t_hat)) / t_hat
        following = x + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_next = (following - denoise(following, t[i + 1])) / t[i + 1]
            following = x + (t[i + 1] - t_hat) * (d / 2 + d_next / 2)
        x = following
    return x


@pytest.fixture(scope="module")
def start(generator: Callable[..., torch.Generator]) -> torch.Tensor:
    """Standard normal noise."""
    return torch.randn((40, 2), generator=generator(5), dtype=torch.float64)


@pytest.mark.parametrize(("sampler", "second_order"), [(Heun(steps=STEPS), True), (Euler(steps=STEPS), False)])
def test_heun_and_euler_are_algorithm_1_of_the_paper(
    ring8: Any,
    start: torch.Tensor,
    context: Callable[..., trilemma.Context],
    sampler: DenoiserSampler,
    second_order: bool,
) -> None:
    found = sampler.draw(ring8.denoise, start, VarianceExploding(highest=HIGH), context(sampler=sampler))
    centers = ring8.centers.numpy()
    expected = algorithm_1(
        math.sqrt(1 + HIGH**2) * start.numpy(),
        lambda x, t: posterior_mean(x, t, centers, ring8.deviation),
        second_order,
    )
    assert np.abs(found.numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("churn_min", [0.05, 0.0])
def test_heun_with_churn_is_algorithm_2_of_the_paper(
    ring8: Any, start: torch.Tensor, context: Callable[..., trilemma.Context], churn_min: float
) -> None:
    sampler = StochasticHeun(steps=STEPS, churn=12.0, churn_min=churn_min, churn_max=20.0, inflation=1.007)
    found = sampler.draw(ring8.denoise, start, VarianceExploding(highest=HIGH), context(sampler=sampler, seed=8))
    same = torch.Generator().manual_seed(8)
    centers = ring8.centers.numpy()
    expected = algorithm_2(
        math.sqrt(1 + HIGH**2) * start.numpy(),
        lambda x, t: posterior_mean(x, t, centers, ring8.deviation),
        sampler,
        lambda: torch.randn(start.shape, generator=same, dtype=torch.float64).numpy(),
    )
    assert np.abs(found.numpy() - expected).max() < 1e-6


def test_dpm_solver_is_algorithm_2_of_the_paper(
    ring8: Any, start: torch.Tensor, context: Callable[..., trilemma.Context]
) -> None:
    # Lu et al. 2022b in the coordinates of the variance-preserving diffusion, where alpha^2 + sigma^2 = 1.
    sampler, diffusion = DpmSolver2M(steps=STEPS), VariancePreserving()
    found = sampler.draw(ring8.denoise, start, diffusion, context(sampler=sampler))
    levels = geometric_grid(STEPS, sampler.sigma_min, diffusion.sigma_max).numpy()
    alpha, sigma = 1 / np.sqrt(1 + levels**2), levels / np.sqrt(1 + levels**2)
    lam, centers = np.log(alpha / sigma), ring8.centers.numpy()

    def data_prediction(x: Array, i: int) -> Array:
        return posterior_mean(x / alpha[i], float(levels[i]), centers, ring8.deviation)

    x, h = start.numpy(), np.diff(lam)
    buffer = [data_prediction(x, 0)]
    x = sigma[1] / sigma[0] * x - alpha[1] * (np.exp(-h[0]) - 1) * buffer[0]
    for i in range(2, STEPS):
        buffer.append(data_prediction(x, i - 1))
        r = h[i - 2] / h[i - 1]
        mixed = (1 + 1 / (2 * r)) * buffer[i - 1] - 1 / (2 * r) * buffer[i - 2]
        x = sigma[i] / sigma[i - 1] * x - alpha[i] * (np.exp(-h[i - 1]) - 1) * mixed
    assert np.abs(found.numpy() - data_prediction(x, STEPS - 1)).max() < 1e-6


def test_steps_in_the_angle_have_a_smaller_error(ring8: Any, generator: Callable[..., torch.Generator]) -> None:
    # The figures in the docstrings of `HeunAngle` and `EulerAngle`.
    u = torch.randn((500, 2), generator=generator(), dtype=torch.float64)
    exact = heun_angle(ring8.denoise, u, rho_grid(600, 1e-4, HIGH))

    def error(x: torch.Tensor) -> float:
        return float((x - exact).norm(dim=1).mean())

    eight, fifteen, eighteen, thirty_five = (rho_grid(n, LOW, HIGH) for n in (8, 15, 18, 35))
    assert error(heun(ring8.denoise, u, eight)) == pytest.approx(0.216, abs=0.015)
    assert error(heun(ring8.denoise, u, eighteen)) == pytest.approx(0.021, abs=0.002)
    assert error(heun_angle(ring8.denoise, u, eight)) == pytest.approx(0.063, abs=0.005)
    assert error(heun_angle(ring8.denoise, u, eighteen)) == pytest.approx(0.005, abs=0.001)
    assert error(ddim(ring8.denoise, u, fifteen)) == pytest.approx(0.082, abs=0.006)
    assert error(ddim(ring8.denoise, u, thirty_five)) == pytest.approx(0.033, abs=0.003)
    assert error(euler_angle(ring8.denoise, u, fifteen)) == pytest.approx(0.039, abs=0.004)
    assert error(euler_angle(ring8.denoise, u, thirty_five)) == pytest.approx(0.015, abs=0.002)
