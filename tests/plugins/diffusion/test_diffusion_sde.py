"""Steps of the reverse-time SDE: their order, their corrections, and the cost of samplers over time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import trilemma
from trilemma.plugins.diffusion.denoiser import DenoiserSampler
from trilemma.plugins.diffusion.schedules import Diffusion, VariancePreserving
from trilemma.plugins.diffusion.sde import euler_maruyama_step, langevin_correction, marginal_score, predictor_corrector
from trilemma.plugins.diffusion.sde_samplers import EulerMaruyama, PredictorCorrector


def test_marginal_score_agrees_with_the_diffused_gaussian(gaussian: Any, diffusion: Diffusion) -> None:
    t, x = torch.tensor(0.3, dtype=torch.float64), gaussian.points(7)
    distribution = diffusion.alpha(t) ** 2 * (gaussian.covariance + diffusion.sigma(t) ** 2 * torch.eye(3))
    expected = -x @ torch.linalg.inv(distribution)
    torch.testing.assert_close(marginal_score(gaussian.denoiser(), x, diffusion, t), expected)
    times = t.expand(7)
    torch.testing.assert_close(marginal_score(gaussian.denoiser(), x, diffusion, times), expected)


def test_langevin_corrections_preserve_the_marginal(
    gaussian: Any, generator: Callable[..., torch.Generator], diffusion: Diffusion
) -> None:
    t = torch.tensor(0.4, dtype=torch.float64)
    alpha, sigma = diffusion.alpha(t), diffusion.sigma(t)
    distribution = alpha**2 * (gaussian.covariance + sigma**2 * torch.eye(3))
    x = gaussian.points(20_000, 8, distribution)
    moved = langevin_correction(gaussian.denoiser(), x, diffusion, t, snr=0.1, steps=30, generator=generator(9))
    assert float((moved - x).square().mean() / distribution.trace()) > 0.01
    torch.testing.assert_close(moved.T.cov(), distribution, atol=float(0.04 * distribution.max()), rtol=0)


def test_euler_maruyama_has_weak_order_one(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    # For one-dimensional Gaussian data a step multiplies the variance by a known factor: no sampling error.
    variance = torch.tensor([[0.3]], dtype=torch.float64)
    diffusion, errors = VariancePreserving(0.1, 5.0), []
    for steps in (50, 100, 200):
        times, distribution = torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64), 0.0
        distribution = float(diffusion.alpha(times[0]) ** 2 * (0.3 + diffusion.sigma(times[0]) ** 2))
        for t, t_next in itertools.pairwise(times):
            x = torch.ones((1, 1), dtype=torch.float64)
            draws = [
                euler_maruyama_step(gaussian.denoiser(variance), k * x, diffusion, t, t_next, generator(1))
                for k in (0.0, 1.0)
            ]
            distribution = float((draws[1] - draws[0]) ** 2) * distribution + float(
                diffusion.squared_diffusion(t) * (t - t_next)
            )
        exact = float(diffusion.alpha(times[-1]) ** 2 * (0.3 + diffusion.sigma(times[-1]) ** 2))
        errors.append(abs(distribution - exact))
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(0.8 < order < 1.2 for order in orders), orders


def test_predictor_corrector_without_predictor_follows_the_scale(
    gaussian: Any, generator: Callable[..., torch.Generator]
) -> None:
    x = torch.randn((5, 3), generator=generator(), dtype=torch.float64)
    times, diffusion = torch.tensor([0.8, 0.2], dtype=torch.float64), VariancePreserving()
    moved = predictor_corrector(
        gaussian.denoiser(), x, diffusion, times, generator(), predictor=None, corrector_steps=0
    )
    torch.testing.assert_close(moved, x * diffusion.alpha(times[1]) / diffusion.alpha(times[0]))


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [
        (EulerMaruyama(steps=25), 26),
        (EulerMaruyama(steps=25, denoise=False), 25),
        (PredictorCorrector(steps=25), 51),
        (PredictorCorrector(steps=25, corrector_steps=3, denoise=False), 100),
    ],
)
def test_time_samplers_take_the_documented_number_of_evaluations(
    gaussian: Any,
    generator: Callable[..., torch.Generator],
    context: Callable[..., trilemma.Context],
    sampler: DenoiserSampler,
    evaluations: int,
) -> None:
    denoise = gaussian.denoiser()
    sampler.draw(
        denoise, torch.randn((4, 3), generator=generator()), VariancePreserving(), context(shape=(3,), sampler=sampler)
    )
    assert denoise.calls == evaluations
