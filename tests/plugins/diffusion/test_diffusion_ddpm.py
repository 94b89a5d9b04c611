"""DDPM: its chain, its bound, and the cost of its samplers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.bounds import Variance, discrete_bound
from trilemma.plugins.diffusion.ddpm import Ddpm
from trilemma.plugins.diffusion.langevin_samplers import StridedAncestral, StridedDdim, strided
from trilemma.plugins.diffusion.schedules import DiscreteVariancePreserving, VariancePreserving


def test_chain_agrees_with_the_paper() -> None:
    chain = DiscreteVariancePreserving(0.1, 20.0, 1000)
    sigmas = chain.noise_levels()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    torch.testing.assert_close(sigmas.flip(0), ((1 - kept) / kept).sqrt())
    assert (sigmas.diff() < 0).all()
    # The chain is a discretization of the VP diffusion.
    t = torch.tensor(0.5, dtype=torch.float64)
    assert float(sigmas.flip(0)[499]) == pytest.approx(float(VariancePreserving(0.1, 20.0).sigma(t)), rel=0.02)


def test_strided_noise_levels_keep_both_ends() -> None:
    sigmas = DiscreteVariancePreserving(steps=100).noise_levels()
    part = strided(sigmas, 7)
    assert len(part) == 7
    assert torch.equal(part[[0, -1]], sigmas[[0, -1]])
    assert torch.equal(strided(sigmas, 100), sigmas)
    assert torch.equal(strided(sigmas, 1000), sigmas)
    assert torch.equal(strided(sigmas, 1), sigmas[:1])


@pytest.mark.parametrize("variance", ["small", "large"])
def test_bound_over_two_noise_levels_is_its_kl_divergence(
    generator: Callable[..., torch.Generator], variance: Variance
) -> None:
    # KL(q(x_s | x_t, x_0) | p(x_s | x_t)) between Gaussians whose means differ by D for x_0, averaged over x_t.
    t, s = 3.0, 1.0
    x = torch.tensor([[0.5, -1.0]], dtype=torch.float64).expand(40_000, 2)

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        return 0.3 * y

    bound = discrete_bound(denoise, x, torch.tensor([t, s], dtype=torch.float64), generator(), variance)
    noisy = x + t * torch.randn(x.shape, generator=generator(1), dtype=torch.float64)
    means = [c + (s / t) ** 2 * (noisy - c) for c in (x, denoise(noisy, x))]
    deviation = s * math.sqrt(1 - (s / t) ** 2)
    wider = deviation if variance == "small" else math.sqrt(t**2 - s**2)
    posterior, model = torch.distributions.Normal(means[0], deviation), torch.distributions.Normal(means[1], wider)
    expected = torch.distributions.kl_divergence(posterior, model).sum(1).mean()
    assert float(bound.diffusion.mean()) == pytest.approx(float(expected), rel=0.02)


@pytest.fixture(scope="module")
def trained(context: Callable[..., trilemma.Context], pair: Any) -> Ddpm:
    model = Ddpm(Ddpm.Config(hidden=(64, 64), steps=400, parametrization="karras"))
    recipe = Ddpm.recipe.model_copy(update={"batch_size": 256})
    clock = trilemma.Clock(trilemma.Budget(steps=1_200))
    model.fit(trilemma.Split(pair.points(4_000, 1)), context(Ddpm, clock=clock, recipe=recipe))
    return model


def test_bound_lies_below_the_true_density_and_reports_its_terms(
    context: Callable[..., trilemma.Context], pair: Any, trained: Ddpm
) -> None:
    x, ctx = pair.points(2_000, 2), context(likelihood=Ddpm.Likelihood(draws=4))
    values = trained.log_prob(x, ctx)
    first = torch.stack([-0.5 * ((x[:, 0] - c) / 0.4) ** 2 for c in (-0.9, 0.9)]).logsumexp(0)
    truth = first - math.log(2 * 0.4 * 2 * math.pi) - 0.5 * x[:, 1] ** 2
    assert -0.3 < float((values - truth).mean()) < 0.02
    assert sum(ctx.details["terms"].values()) == pytest.approx(-float(values.mean()), rel=1e-4)
    assert ctx.details["steps"] == 400


@pytest.mark.parametrize(
    "sampler", [StridedAncestral(), StridedAncestral(steps=40, variance="large"), StridedDdim(steps=40)]
)
def test_samples_follow_the_true_distribution_at_the_stated_cost(
    context: Callable[..., trilemma.Context], trained: Ddpm, sampler: StridedAncestral | StridedDdim
) -> None:
    rows = 0

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    (network,) = trained.networks()
    handle = network.register_forward_pre_hook(count)
    x = trained.sample(4_000, context(Ddpm, sampler=sampler))
    handle.remove()
    assert rows == 4_000 * sampler.steps
    assert float((x[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(x[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.05)
    assert float(x[:, 1].std()) == pytest.approx(1, abs=0.1)
