"""The loss of the score SDEs: how times are drawn and weighted, its expectation, and its precision at small times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.denoiser import noise_residual
from trilemma.plugins.diffusion.schedules import Diffusion, SubVariancePreserving, VarianceExploding, VariancePreserving
from trilemma.plugins.diffusion.score_sde import (
    SdeOptions,
    SubVpOptions,
    SubVpSde,
    VeOptions,
    VeSde,
    VpOptions,
    VpSde,
    draw_times,
    score_sde_loss,
)

Times = Literal["uniform", "importance"]
DIFFUSIONS: list[tuple[Diffusion, type[SdeOptions]]] = [
    (VariancePreserving(), VpOptions),
    (SubVariancePreserving(), SubVpOptions),
    (VarianceExploding(), VeOptions),
]


def rate(diffusion: Diffusion, t: Tensor) -> Tensor:
    """g^2 / (alpha sigma)^2, the likelihood weight."""
    return diffusion.squared_diffusion(t) / (diffusion.alpha(t) * diffusion.sigma(t)) ** 2


def midpoints(eps: float, count: int) -> Tensor:
    """Midpoints of `count` equal parts of [eps, 1]."""
    return eps + (1 - eps) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


@pytest.mark.parametrize(("diffusion", "options"), DIFFUSIONS)
def test_importance_sampling_draws_times_by_their_likelihood_weight(
    diffusion: Diffusion, options: type[SdeOptions]
) -> None:
    # The density of times is proportional to g^2 / (alpha sigma)^2: quantiles of the time agree with quadrature.
    setting = options(eps=1e-2, weighting="likelihood", times="importance")
    times, weight = draw_times(4_000, diffusion, setting, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weight, torch.ones_like(weight))
    t = midpoints(1e-2, 200_000)
    mass = rate(diffusion, t).cumsum(0)
    for share in (0.1, 0.5, 0.9):
        expected = t[torch.searchsorted(mass, share * mass[-1])]
        assert float(times.quantile(share) / expected) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("diffusion", "options"), DIFFUSIONS)
@pytest.mark.parametrize("weighting", ["variance", "likelihood"])
def test_importance_sampling_keeps_the_expectation_of_the_loss(
    diffusion: Diffusion, options: type[SdeOptions], weighting: Literal["variance", "likelihood"]
) -> None:
    # For N(0, 1) the exact denoiser has the residual 1 / (1 + sigma^2). Times are stratified, so the mean is precise.
    t = midpoints(1e-2, 400_000)
    exact, weight = 1 / (1 + diffusion.sigma(t) ** 2), rate(diffusion, t)
    expected = exact.mean() if weighting == "variance" else (weight * exact).mean() / weight.mean()
    spread = {}
    choices: tuple[Times, ...] = ("uniform", "importance")
    for times in choices:
        setting = options(eps=1e-2, weighting=weighting, times=times)
        drawn, factor = draw_times(100_000, diffusion, setting, torch.Generator().manual_seed(1))
        loss = factor / (1 + diffusion.sigma(drawn) ** 2)
        assert float(loss.mean()) == pytest.approx(float(expected), rel=2e-3)
        spread[times] = float(loss.var())
    if isinstance(diffusion, VarianceExploding):  # ln(sigma) is linear in time, so that both ways are the same
        assert spread["importance"] == pytest.approx(spread["uniform"], rel=1e-3)
    elif weighting == "likelihood":
        assert spread["importance"] < spread["uniform"] / 4


@pytest.mark.parametrize("times", ["uniform", "importance"])
def test_the_likelihood_weighted_loss_is_that_of_the_paper(
    times: Times, generator: Callable[..., torch.Generator]
) -> None:
    # 1/2 int g^2 E|s - grad log p(x_t | x_0)|^2 dt (Song, Durkan, Murray & Ermon 2021, eq. 7) for the score
    # s = -x_t / 2 and x_0 ~ N(0, 1), by quadrature in the coordinates of the diffusion.
    diffusion, eps = VariancePreserving(), 1e-2
    t = midpoints(eps, 200_000)
    alpha, deviation = diffusion.alpha(t), diffusion.alpha(t) * diffusion.sigma(t)
    # s - grad log p(x_t | x_0) = -(alpha x_0 + deviation z) / 2 + z / deviation
    squared = (alpha / 2) ** 2 + (1 / deviation - deviation / 2) ** 2
    paper = (1 - eps) * (0.5 * diffusion.squared_diffusion(t) * squared).mean()
    constant = 0.5 * (1 - eps) * rate(diffusion, t).mean()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        variance = sigma.unsqueeze(1) ** 2
        return x - variance * x / (2 * (1 + variance))  # x = x_t / alpha with alpha^2 = 1 / (1 + sigma^2)

    x = torch.randn((400_000, 1), generator=generator(4), dtype=torch.float64)
    setting = VpOptions(eps=eps, weighting="likelihood", times=times)
    loss = score_sde_loss(denoise, x, diffusion, setting, generator(5))
    assert float(loss * constant) == pytest.approx(float(paper), rel=0.02)


def test_uniform_times_are_uniform() -> None:
    t, weight = draw_times(1_000, VariancePreserving(), VpOptions(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(t, torch.linspace(1e-5, 1, 1_001).double()[1:], rtol=0, atol=1.1e-3)
    assert (weight == 1).all()


@pytest.mark.parametrize("parametrization", ["karras", "noise"])
@pytest.mark.parametrize("kind", [VpSde, SubVpSde, VeSde])
def test_the_loss_is_precise_at_the_smallest_time_of_the_paper(
    context: Callable[..., trilemma.Context], generator: Callable[..., torch.Generator], kind: Any, parametrization: str
) -> None:
    # At time 1e-5 the noise level of sub-VP is 1e-6, the rounding error of a point in single precision.
    model = kind(kind.Config(hidden=(16,), octaves=0, parametrization=parametrization))
    torch.manual_seed(0)
    model.build(context().info)
    x, noise = (torch.randn((64, 2), generator=generator(seed)) for seed in (6, 7))
    sigma = model.diffusion.sigma(torch.full((64,), model.config.eps).double())
    single = noise_residual(model.denoiser, x, noise, sigma.float())
    exact = noise_residual(model.denoiser.double(), x.double(), noise.double(), sigma)
    torch.testing.assert_close(single.double(), exact, rtol=2e-5, atol=2e-5)
