"""Corrections by Langevin dynamics: their step sizes, and what they are good for under the exact score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import trilemma
from trilemma.plugins.diffusion.schedules import Diffusion, VarianceExploding, VariancePreserving
from trilemma.plugins.diffusion.sde import StepRule, langevin_correction
from trilemma.plugins.diffusion.sde_samplers import PredictorCorrector, ReverseDiffusion


@pytest.mark.parametrize("rule", ["snr", "snr-per-sample", "ald"])
@pytest.mark.parametrize("diffusion", [VarianceExploding(0.01, 30.0), VariancePreserving()])
def test_corrections_are_those_of_algorithms_4_and_5(
    gaussian: Any, generator: Callable[..., torch.Generator], diffusion: Diffusion, rule: StepRule
) -> None:
    # Song et al. 2021, appendix G, for a normal distribution, whose score is linear.
    t, snr = torch.tensor(0.4, dtype=torch.float64), 0.17
    start = gaussian.points(30)
    found = langevin_correction(
        gaussian.denoiser(), start, diffusion, t, snr=snr, steps=2, generator=generator(4), rule=rule
    )
    if isinstance(diffusion, VariancePreserving):
        kept = np.exp(-(0.1 * 0.4 + 19.9 * 0.4**2 / 2))  # Song et al. 2021, eq. 33
        signal, noise, alpha = kept, 1 - kept, 1 - (0.1 + 19.9 * 0.4) / 1000  # of 1,000 steps
    else:
        signal, noise, alpha = 1.0, (0.01 * 3000**0.4) ** 2, 1.0
    precision = np.linalg.inv(signal * gaussian.covariance.numpy() + noise * np.eye(3))
    same, x = generator(4), start.numpy()
    for _ in range(2):
        z = torch.randn((30, 3), generator=same, dtype=torch.float64).numpy()
        g = -x @ precision
        if rule == "ald":  # public code: (snr * std)^2 * 2 * alpha
            eps = np.full((30, 1), (snr * np.sqrt(noise)) ** 2 * 2 * alpha)
        else:
            lengths = [np.sqrt((v**2).sum(1)) for v in (z, g)]
            if rule == "snr":
                lengths = [np.full(30, v.mean()) for v in lengths]
            eps = (2 * alpha * (snr * lengths[0] / lengths[1]) ** 2)[:, None]
        x = x + eps * g + np.sqrt(2 * eps) * z
    np.testing.assert_allclose(found.numpy(), x, rtol=1e-3, atol=1e-4)


def radial_distance(mixture: Any, sampler: PredictorCorrector | ReverseDiffusion, ctx: trilemma.Context) -> float:
    """The Kolmogorov-Smirnov distance between the distances of samples to the nearest center and the true ones."""
    parts = []
    for _ in range(20):  # as many samples at once as in a draw of the library
        noise = torch.randn((2_000, 2), generator=ctx.generator, dtype=torch.float64)
        parts.append(sampler.draw(mixture.denoise, noise, VarianceExploding(), ctx))
    return float(stats.kstest(mixture.radii(torch.cat(parts)).numpy(), stats.rayleigh.cdf).statistic)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [50, 100])
@pytest.mark.parametrize("data", ["ring8", "grid25"])
def test_corrections_beat_the_predictor_alone_at_equal_evaluations(
    request: pytest.FixtureRequest, context: Callable[..., trilemma.Context], data: str, steps: int
) -> None:
    mixture = request.getfixturevalue(data)
    corrected = radial_distance(mixture, PredictorCorrector(steps=steps), context())
    alone = radial_distance(mixture, ReverseDiffusion(steps=2 * steps), context())
    assert corrected < alone, (corrected, alone)


def test_norms_of_single_samples_fail_in_two_dimensions(ring8: Any, context: Callable[..., trilemma.Context]) -> None:
    # As the docstring of `PredictorCorrector` says.
    noise = torch.randn((2_000, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    close = {}
    for rule in ("snr", "snr-per-sample"):
        sampler = PredictorCorrector(steps=25, step_rule=rule)  # type: ignore[arg-type]
        x = sampler.draw(ring8.denoise, noise, VarianceExploding(), context())
        close[rule] = float((ring8.radii(x) < 3).double().mean())
    assert close["snr"] > 0.95
    assert close["snr-per-sample"] < 0.8
