"""Langevin dynamics: its stationary distribution, its known failure between far modes, its sampler, and the control."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.plugins.controls.langevin import LangevinMonteCarlo
from trilemma.plugins.diffusion.langevin import annealed_langevin, langevin
from trilemma.plugins.diffusion.langevin_samplers import AnnealedLangevin, Langevin
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


def test_from_a_uniform_start_only_annealed_langevin_finds_the_weights(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    """The experiment of Song & Ermon 2019, figure 3, with exact scores: starts in [-8, 8]^2, eps = .1, T = 1000."""
    distribution, n = TwoModes(), 1_000
    plain = Langevin(steps=1000, step=0.1 / 2, start="uniform", start_low=-8, start_high=8)
    x = LangevinMonteCarlo().sample(n, context(truth=distribution, sampler=plain))
    assert 0.4 < 1 - share_of_the_heavier(x) < 0.6
    annealed = AnnealedLangevin(steps=100, ratio=0.1, start="uniform")
    noise, levels = torch.randn((n, 2), generator=generator()).double(), DiscreteVarianceExploding(0.1, 20.0, 10)
    x = annealed.draw(distribution.denoise, noise, levels, context(sampler=annealed))
    assert 0.15 < 1 - share_of_the_heavier(x) < 0.25


def test_a_uniform_start_lies_between_its_bounds_in_data_units(
    generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    ctx = context()
    ctx.info = dataclasses.replace(ctx.info, to_model=lambda x: (x - 3) / 4)
    shown: list[Tensor] = []
    ctx.show = lambda steps, x: shown.append(x)
    still = Langevin(steps=1, step=1e-12, start="uniform", start_low=-2, start_high=6)
    noise = torch.randn((4_000, 2), generator=generator())
    x = still.run(torch.zeros_like, noise, ctx) * 4 + 3
    for coordinate in x.T:
        assert stats.kstest(coordinate.numpy(), stats.uniform(-2, 8).cdf).pvalue > 1e-3
    torch.testing.assert_close(shown[0] * 4 + 3, x, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="start_low must be below start_high"):
        Langevin(start="uniform", start_low=8, start_high=-8)


def test_chains_show_every_step_with_its_number(
    gaussian: Any, generator: Callable[..., torch.Generator], context: Callable[..., trilemma.Context]
) -> None:
    shown: list[tuple[int, Tensor]] = []
    ctx = context(shape=(3,))
    ctx.show = lambda steps, x: shown.append((steps, x))
    noise = torch.randn((5, 3), generator=generator()).double()
    sampler = AnnealedLangevin(steps=3, denoise=True)
    end = sampler.draw(gaussian.denoiser(), noise, DiscreteVarianceExploding(0.1, 9.0, 4), ctx)
    assert [steps for steps, _ in shown] == list(range(13))
    last = shown[-1][1]
    torch.testing.assert_close(gaussian.denoiser()(last, torch.tensor(0.1).double()), end)


def test_steps_are_those_of_both_papers(gaussian: Any, generator: Callable[..., torch.Generator]) -> None:
    """Algorithm 1 of Song & Ermon 2019 (alpha / 2 and sqrt(alpha)), and that of 2020 (alpha and sqrt(2 alpha))."""
    levels, steps, covariance = [2.0, 1.0, 0.5], 4, gaussian.covariance
    start = torch.randn((6, 3), generator=generator()).double()

    def paper(x: Tensor, eps: float, drift: float, noise: float) -> Tensor:
        rng = generator(7)
        for sigma in levels:
            alpha = eps * sigma**2 / levels[-1] ** 2
            precision = torch.linalg.inv(covariance + sigma**2 * torch.eye(3))
            for _ in range(steps):
                z = torch.randn(x.shape, generator=rng, dtype=x.dtype)
                x = x - drift * alpha * x @ precision + math.sqrt(noise * alpha) * z
        return x

    eps = 0.04
    for drift, noise, ratio in ((0.5, 1.0, eps / (2 * 0.5**2)), (1.0, 2.0, eps / 0.5**2)):
        ours = annealed_langevin(
            *(gaussian.denoiser(), start, torch.tensor(levels).double()),
            **{"steps": steps, "ratio": ratio, "denoise_last": False, "generator": generator(7)},
        )
        torch.testing.assert_close(ours, paper(start, eps, drift, noise))
    default = AnnealedLangevin()
    assert default.ratio == pytest.approx(2e-5 / (2 * 0.01**2))  # eps = 2e-5 and sigma_L = .01 in the paper of 2019


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


def test_a_score_without_a_network_is_not_guided(context: Callable[..., trilemma.Context]) -> None:
    with pytest.raises(trilemma.UnsupportedError, match="no weights early in training"):
        LangevinMonteCarlo().sample(3, context(truth=TwoModes(), sampler=Langevin(steps=1, guidance=1.0)))


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
    found = sampler.run(lambda x: -x @ precision, noise, context(shape=(3,)))
    torch.testing.assert_close(found, drawn)
    still = Langevin(steps=1, step=1e-12, start_mean=3.0, start_std=0.5)
    torch.testing.assert_close(still.run(torch.zeros_like, noise, ctx), 3 + 0.5 * noise, atol=1e-4, rtol=0)
