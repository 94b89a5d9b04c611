"""The variational autoencoder: its bound against closed forms, its training and samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

import trilemma
from trilemma.plugins.vae.autoencoder import Autoencoder
from trilemma.plugins.vae.elbo import divergence_from_prior, importance_bound, log_normal, reparametrize
from trilemma.plugins.vae.vae import Vae
from trilemma.plugins.vae.vlae import FlowPriorVAE


def test_terms_agree_with_the_distributions() -> None:
    x, mean, log_deviation = torch.randn((3, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gaussian = Independent(Normal(mean, log_deviation.exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(log_normal(x, (mean, log_deviation)), gaussian.log_prob(x))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(divergence_from_prior((mean, log_deviation)), kl_divergence(gaussian, prior))
    torch.testing.assert_close(reparametrize((mean, log_deviation), x), mean + gaussian.stddev * x)


def test_importance_bound_is_the_logarithm_of_the_mean_weight() -> None:
    weights = torch.rand((6, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(importance_bound(weights.log()), weights.mean(0).log())


WEIGHT = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.0, 1.0], [2.0, -0.75]])
"""A decoder whose columns have the inner product -1.5, so that the coordinates of the posterior are correlated."""

Make = Callable[..., Any]


@pytest.mark.parametrize("samples", [1, 20])
def test_bound_is_exact_under_the_exact_posterior(
    samples: int, linear: Make, points_and_density: Make, context: Make
) -> None:
    weight = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.0, 1.0], [2.0, 0.0]])  # orthogonal columns: it is diagonal
    x, truth = points_and_density(weight)
    found = linear(weight, 0.0).log_prob(x, context(4, likelihood=Vae.Likelihood(samples=samples)))
    torch.testing.assert_close(found, truth, atol=1e-3, rtol=0)


def test_bound_lies_below_the_density_and_rises_with_the_importance_samples(
    linear: Make, points_and_density: Make, context: Make
) -> None:
    x, truth = points_and_density(WEIGHT)
    model = linear(WEIGHT, 0.3)
    means = []
    for samples in (1, 8, 512):
        ctx = context(4, likelihood=Vae.Likelihood(samples=samples))
        means.append(float((model.log_prob(x, ctx) - truth).mean()))
        assert ctx.details["importance_samples"] == samples
    assert means[0] < means[1] - 0.1 < means[2] - 0.1
    assert -0.05 < means[2] < 0.02
    # At one sample it is the ELBO, below the density by the divergence from the posterior.
    precision = torch.eye(2) + WEIGHT.T @ WEIGHT / 0.5**2
    posterior = MultivariateNormal(torch.zeros(2), precision_matrix=precision)
    encoder = MultivariateNormal(torch.full((2,), 0.3), torch.diag(1 / precision.diagonal()))
    ctx = context(4)
    elbo = -float(torch.stack([model.loss(x, ctx).detach() for _ in range(100)]).mean())
    gap = float(kl_divergence(encoder, posterior))
    assert elbo == pytest.approx(float(truth.mean()) - gap, abs=0.05)
    assert means[0] == pytest.approx(-gap, abs=0.2)


def pair(n: int, seed: int) -> Tensor:
    """Two Gaussians of spread .4 at -.9 and .9 on the first axis, the second axis standard normal."""
    x = torch.randn((n, 2), generator=torch.Generator().manual_seed(seed))
    side = 2.0 * torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(seed + 50)) - 1
    return torch.stack([0.9 * side + 0.4 * x[:, 0], x[:, 1]], dim=1)


def test_divergence_is_weighted_in_the_warm_up_only(linear: Make, points_and_density: Make, context: Make) -> None:
    model, x = linear(WEIGHT, 0.3), points_and_density(WEIGHT)[0]
    clock = trilemma.Clock(trilemma.Budget(steps=10))
    losses = [float(model.loss(x, context(4, clock=clock)).detach()) for _ in clock]
    full = float(model.validation_loss(x, context(4)).detach())
    divergence = float(divergence_from_prior(model.encoder(x)).mean().detach())
    assert losses[3:] == pytest.approx([full] * 7)
    assert losses[0] == pytest.approx(full - divergence, rel=1e-4)
    assert losses[0] < losses[1] < losses[2] < full


@pytest.mark.parametrize(
    ("kind", "steps", "options"),
    [
        (Vae, 300, {}),
        (FlowPriorVAE, 200, {}),
        pytest.param(Vae, 300, {"prior": "realnvp"}, marks=pytest.mark.slow),
        pytest.param(Vae, 300, {"prior": "iaf", "posterior": "iaf"}, marks=pytest.mark.slow),
        pytest.param(Vae, 300, {"posterior": "planar"}, marks=pytest.mark.slow),
        pytest.param(Vae, 300, {"posterior": "sylvester"}, marks=pytest.mark.slow),
    ],
)
def test_training_comes_close_to_the_density_from_below(
    kind: type[Autoencoder], steps: int, options: dict[str, object], context: Make
) -> None:
    model, x = kind(kind.Config(hidden=(64, 64), **options)), pair(2_000, 2)
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    model.fit(trilemma.Split(pair(4_000, 1)), context(clock=clock, recipe=kind.recipe))
    with torch.no_grad():
        decoded = model.decoder(model.encoder(x)[0])[0]
    assert (decoded - x)[:, 0].std() < 0.5  # the latents are used
    first = torch.stack([-0.5 * ((x[:, 0] - c) / 0.4) ** 2 for c in (-0.9, 0.9)]).logsumexp(0)
    truth = first - math.log(2 * 0.4 * 2 * math.pi) - 0.5 * x[:, 1] ** 2
    assert -0.15 < float((model.log_prob(x, context()) - truth).mean()) < 0.02
    drawn = model.sample(4_000, context())
    assert float((drawn[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(drawn[:, 0].abs().mean()) == pytest.approx(0.9, abs=0.08)
    assert float(drawn[:, 1].std()) == pytest.approx(1, abs=0.1)
