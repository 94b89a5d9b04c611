"""The reverse chain of DDPM against the paper's own coordinates, and on data whose reverse chain is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trilemma.plugins.diffusion.bounds import discrete_bound
from trilemma.plugins.diffusion.reverse_chain import ReverseChain, ReverseModel, Variance, ancestral, prediction
from trilemma.plugins.diffusion.schedules import DiscreteVariancePreserving

BETAS = torch.linspace(0.02, 0.5, 9, dtype=torch.float64)


def given(mean: Tensor, covariance: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The mean `(n,)` and the variance of the first of two normal numbers, given the second, `seen`, `(n,)`."""
    gain = covariance[0, 1] / covariance[1, 1]
    return mean[0] + gain * (seen - mean[1]), covariance[0, 0] - gain * covariance[0, 1]


def steps_of(x_0: Tensor, spread: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    """The mean `(2, n)` and the covariance of (x_{t-1}, x_t) for t = 1, ..., T, in the coordinates of the paper.

    They come from the recursion x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) z (Ho et al. 2020, eq. 2), which starts
    at N(x_0, spread^2).
    """
    mean, variance, found = x_0, torch.tensor(spread**2, dtype=torch.float64), []
    for beta in BETAS:
        kept = (1 - beta).sqrt()
        following = kept**2 * variance + beta
        covariance = torch.stack([variance, kept * variance, kept * variance, following]).reshape(2, 2)
        found.append((torch.stack([mean, kept * mean]), covariance))
        mean, variance = kept * mean, following
    return found


def chain_of_the_paper() -> DiscreteVariancePreserving:
    return DiscreteVariancePreserving(9 * 0.02, 9 * 0.5, 9)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 0.35])
def test_terms_are_divergences_in_the_coordinates_of_the_paper(
    generator: Callable[..., torch.Generator], exponent: float
) -> None:
    x_0, z = torch.randn((2, 50), generator=generator(), dtype=torch.float64)
    noise = 0.7 * z + 0.4 * torch.randn((50,), generator=generator(1), dtype=torch.float64)  # a wrong prediction
    chain, kept = ReverseChain(chain_of_the_paper().noise_levels()), (1 - BETAS).cumprod(0)
    _, second = given(*steps_of(x_0)[1], x_0)
    for t, (mean, covariance) in enumerate(steps_of(x_0)):
        beta, x_t = BETAS[t], kept[t].sqrt() * x_0 + (1 - kept[t]).sqrt() * z
        posterior, least = given(mean, covariance, x_t)
        least = least if t > 0 else second  # a posterior variance of 0 is replaced by that of the second step
        variance = (exponent * beta.log() + (1 - exponent) * least.log()).exp()  # Nichol & Dhariwal 2021, eq. 15
        center = (x_t - beta / (1 - kept[t]).sqrt() * noise) / (1 - beta).sqrt()  # Ho et al. 2020, eq. 11
        model = torch.distributions.Normal(center, variance.sqrt())
        if t == 0:
            expected = -model.log_prob(x_0)
        else:
            expected = torch.distributions.kl_divergence(torch.distributions.Normal(posterior, least.sqrt()), model)
        found = chain.terms((noise - z).square(), len(BETAS) - 1 - t, torch.tensor(exponent).double())
        torch.testing.assert_close(found, expected)


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
    # The products of the alphas are 1 / (1 + 3^2) and 1 / (1 + 1^2), so that beta is .8 in the coordinates of x_s.
    wider = deviation if variance == "small" else math.sqrt(0.8 * 2)
    posterior, model = torch.distributions.Normal(means[0], deviation), torch.distributions.Normal(means[1], wider)
    expected = torch.distributions.kl_divergence(posterior, model).sum(1).mean()
    assert float(bound.diffusion.mean()) == pytest.approx(float(expected), rel=0.02)


def exact_model(spread: float) -> tuple[ReverseModel, Tensor]:
    """The reverse model of data from N(0, spread^2), whose steps are normal, with the exponents of its variances."""
    chain, steps = ReverseChain(chain_of_the_paper().noise_levels()), steps_of(torch.zeros(1).double(), spread)
    kept = torch.cat([torch.ones(1).double(), (1 - BETAS).cumprod(0)])
    exponents = []
    for step, t in enumerate(reversed(range(len(BETAS)))):
        _, variance = given(*steps[t], torch.zeros(1).double())
        low, high = (chain.variance(step, torch.tensor(v).double()).log() for v in (0.0, 1.0))
        exponents.append(((variance / kept[t]).log() - low) / (high - low))
    model = ReverseModel(lambda x, sigma: x, "learned")  # type: ignore[arg-type]

    def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        step = int((chain.sigmas - sigma).abs().argmin())
        return spread**2 / (spread**2 + chain.sigmas[step] ** 2) * x, exponents[step].expand_as(x)

    model.both = both  # type: ignore[method-assign]
    return model, torch.stack(exponents)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_bound_of_normal_data_is_its_density_if_the_variances_are_exact(
    generator: Callable[..., torch.Generator], spread: float
) -> None:
    model, exponents = exact_model(spread)
    x = spread * torch.randn((60_000, 2), generator=generator(), dtype=torch.float64)
    truth = torch.distributions.Normal(0.0, spread).log_prob(x).sum(1).mean()
    sigmas = chain_of_the_paper().noise_levels()
    gaps = {
        variance: float(truth - discrete_bound(model, x, sigmas, generator(2), variance).total.mean())
        for variance in ("model", "small", "large")
    }
    if spread == 1.0:  # the large variance is exact
        torch.testing.assert_close(exponents, torch.ones_like(exponents))
        assert gaps["large"] == pytest.approx(gaps["model"])
    else:
        assert (exponents[1:-1] > 0).all()
        assert (exponents < 1).all()
    # What is left is the prior, which is not the exact distribution at the largest noise level.
    kept = float((1 - BETAS).prod())
    total = kept * spread**2 + 1 - kept
    assert gaps["model"] == pytest.approx(total - 1 - math.log(total), abs=0.01)
    assert gaps["small"] > gaps["model"] + 0.5
    assert spread == 1.0 or gaps["large"] > gaps["model"] + 0.1


def test_small_variance_is_exact_for_data_that_is_a_single_point(generator: Callable[..., torch.Generator]) -> None:
    x = torch.zeros((100, 2), dtype=torch.float64)
    sigmas = chain_of_the_paper().noise_levels()
    bound = discrete_bound(lambda y, sigma: torch.zeros_like(y), x, sigmas, generator(), "small")
    # The control variate, which has mean 0, would hide the zero.
    terms = [ReverseChain(sigmas).terms(x, step, torch.tensor(0.0).double()) for step in range(8)]
    assert float(torch.stack(terms).abs().max()) == 0
    assert abs(float(bound.diffusion.mean())) < 2


def test_ancestral_samples_have_the_moments_of_normal_data(generator: Callable[..., torch.Generator]) -> None:
    settings: list[tuple[float, Variance]] = [(0.3, "model"), (1.0, "model"), (1.0, "large")]
    for spread, variance in settings:
        model, _ = exact_model(spread)
        u = torch.randn((60_000, 2), generator=generator(), dtype=torch.float64)
        sigmas = chain_of_the_paper().noise_levels()
        x = ancestral(prediction(model, variance), u, sigmas, generator(1))
        # The last step adds no noise, so that the variance of x_0 given x_1 is missing.
        lost = 1 / (1 / spread**2 + 1 / float(sigmas[-1]) ** 2)
        assert float(x.var()) == pytest.approx(spread**2 - lost, rel=0.02)


def test_bound_of_ddpm_with_the_exact_denoiser_is_close_to_the_density_of_ring8(
    ring8: Any, generator: Callable[..., torch.Generator]
) -> None:
    # With 100 steps as in `ddpm`: the loss that no training can remove.
    x, sigmas = ring8.points(4_000), DiscreteVariancePreserving(steps=100).noise_levels()
    gap = (ring8.log_prob(x) - discrete_bound(ring8.denoise, x, sigmas, generator(), "large").total).mean()
    assert 0.1 < float(gap) <= 0.25
