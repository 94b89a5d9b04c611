"""Langevin dynamics: its stationary distribution, its known failure between far modes, its sampler, and the control."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.controls.langevin import LangevinMonteCarlo
from trilemma.plugins.diffusion.langevin import annealed_langevin, langevin
from trilemma.plugins.diffusion.langevin_samplers import Langevin
from trilemma.plugins.diffusion.schedules import DiscreteVarianceExploding, geometric_grid

CENTERS = torch.tensor([[-5.0, -5.0], [5.0, 5.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.2, 0.8], dtype=torch.float64)


class TwoModes:
    """The mixture of Song & Ermon 2019, section 3.2: unit Gaussians at (-5, -5) and (5, 5), weights 1/5 and 4/5."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The exact posterior mean of x_0."""
        variance = 1 + sigma**2
        shares = (WEIGHTS.log() - torch.cdist(x, CENTERS).square() / (2 * variance)).softmax(1)
        return (x + sigma**2 * shares @ CENTERS) / variance

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        mode = torch.multinomial(WEIGHTS, n, replacement=True, generator=generator)
        return CENTERS[mode] + torch.randn((n, 2), generator=generator, dtype=torch.float64)

    def log_prob(self, x: Tensor) -> Tensor:
        terms = WEIGHTS.log() - torch.cdist(x.double(), CENTERS).square() / 2
        return terms.logsumexp(1) - math.log(2 * math.pi)


def test_step_has_the_stationary_variance_of_the_discrete_chain(generator: Callable[..., torch.Generator]) -> None:
    # For N(0, 1) and step h, x <- (1 - h) x + sqrt(2 h) z has variance 2 h / (1 - (1 - h)^2) = 1 / (1 - h/2).
    x = torch.randn((40_000, 1), generator=generator(), dtype=torch.float64)
    end = langevin(lambda y: -y, x, 0.4, 40, generator(1))
    assert float(end.var()) == pytest.approx(1 / 0.8, rel=0.03)


def share_of_the_heavier(x: Tensor) -> float:
    return float((x.sum(1) > 0).double().mean())


def test_plain_langevin_gets_the_weights_wrong_and_annealed_right(generator: Callable[..., torch.Generator]) -> None:
    distribution, n = TwoModes(), 3_000
    start = 8 * (2 * torch.rand((n, 2), generator=generator(), dtype=torch.float64) - 1)

    def score(x: Tensor) -> Tensor:
        return distribution.denoise(x, torch.zeros(()).double() + 1e-3).sub(x) / 1e-6

    plain = langevin(score, start, 0.05, 500, generator(1))
    sigmas = geometric_grid(20, 0.1, 20.0)
    annealed = annealed_langevin(
        distribution.denoise, 20 * start / 8, sigmas, steps=60, ratio=0.1, denoise_last=True, generator=generator(2)
    )
    assert abs(share_of_the_heavier(plain) - 0.8) > 0.2
    assert share_of_the_heavier(annealed) == pytest.approx(0.8, abs=0.06)


def test_last_step_removes_the_noise_of_the_lowest_noise_level(generator: Callable[..., torch.Generator]) -> None:
    # For data at one point, the denoiser is that point.
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(x)

    x = torch.zeros((2_000, 2), dtype=torch.float64)
    for denoise_last, deviation in ((True, 0.0), (False, 0.5)):
        end = annealed_langevin(
            denoise,
            x,
            geometric_grid(4, 0.5, 4.0),
            steps=30,
            ratio=0.1,
            denoise_last=denoise_last,
            generator=generator(),
        )
        assert float(end.std()) == pytest.approx(deviation, abs=0.03)


def test_control_follows_the_true_score_and_stays_where_it_starts(context: Callable[..., trilemma.Context]) -> None:
    model, one_sided = LangevinMonteCarlo(), Langevin(steps=300, step=0.05, start_mean=5.0)
    x = model.sample(3_000, context(truth=TwoModes(), sampler=one_sided))
    assert share_of_the_heavier(x) == 1
    torch.testing.assert_close(x.mean(0), torch.full((2,), 5.0), atol=0.08, rtol=0)
    torch.testing.assert_close(x.std(0), torch.ones(2), atol=0.08, rtol=0)


def test_control_moves_by_noise_alone_where_the_density_is_zero(context: Callable[..., trilemma.Context]) -> None:
    class Square(TwoModes):
        def log_prob(self, x: Tensor) -> Tensor:
            return torch.where((x.abs() < 1).all(1), 0.0, -torch.inf) + 0 * x.sum(1)

    x = LangevinMonteCarlo().sample(500, context(truth=Square(), sampler=Langevin(steps=10, step=0.01, start_std=0.0)))
    assert float(x.std()) == pytest.approx(math.sqrt(2 * 0.01 * 10), rel=0.1)


def test_control_needs_the_true_distribution(context: Callable[..., trilemma.Context]) -> None:
    with pytest.raises(trilemma.UnsupportedError):
        LangevinMonteCarlo().sample(3, context(truth=None, sampler=Langevin()))


def test_one_sampler_follows_scores_and_denoisers(
    gaussian: Any, generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    sampler, sigmas = Langevin(steps=200, step=0.05, start_mean=3.0, start_std=0.5), DiscreteVarianceExploding(0.1, 9.0)
    noise, denoise = torch.randn((2_000, 3), generator=generator(), dtype=torch.float64), gaussian.denoiser()
    ctx = context(shape=(3,), sampler=sampler)
    drawn = sampler.draw(denoise, noise, sigmas, ctx)
    assert denoise.calls == 200
    # `draw` follows the score of the data at the lowest noise level.
    precision = torch.linalg.inv(gaussian.covariance + 0.1**2 * torch.eye(3))
    found = sampler.run(lambda x: -x @ precision, noise, context(shape=(3,)).generator)
    torch.testing.assert_close(found, drawn)
    still = Langevin(steps=1, step=1e-12, start_mean=3.0, start_std=0.5)
    torch.testing.assert_close(still.run(torch.zeros_like, noise, ctx.generator), 3 + 0.5 * noise, atol=1e-4, rtol=0)
