"""The control that samples with the exact score."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.controls.exact_score import ExactScore, MixtureDenoiser

MODES = trilemma.Modes(
    torch.tensor([[-0.8, 0.3], [0.9, 0.0]], dtype=torch.float64),
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[[0.2, 0.1], [0.1, 0.4]], [[0.3, -0.05], [-0.05, 0.1]]], dtype=torch.float64),
)


class Mixture:
    """The true distribution, for a context."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def modes(self) -> trilemma.Modes | None:
        return MODES


def context(truth: trilemma.Truth | None, name: str = "", **options: object) -> trilemma.Context:
    kinds = {kind.name: kind for kind in ExactScore.samplers}
    sampler = kinds[name].model_validate(options) if name else trilemma.Direct()
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(2,), n_train=100)
    return trilemma.Context(info, torch.device("cpu"), torch.Generator().manual_seed(0), sampler=sampler, truth=truth)


def test_the_denoiser_is_the_posterior_mean() -> None:
    """Tweedie's formula: D = x + sigma^2 grad log p_sigma(x), with the gradient by autograd."""
    x = torch.randn((40, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for sigma in (0.05, 0.7, 4.0):
        y = x.clone().requires_grad_()
        smoothed = MODES.covariances + sigma**2 * torch.eye(2)
        parts: Any = torch.distributions.MultivariateNormal(MODES.centers, smoothed)
        density = (MODES.weights.log() + parts.log_prob(y[:, None])).logsumexp(1)
        gradient = torch.autograd.grad(density.sum(), y)[0]
        found = MixtureDenoiser(MODES)(x, torch.tensor(sigma))
        torch.testing.assert_close(found, x + sigma**2 * gradient, rtol=1e-6, atol=1e-6)
        each = MixtureDenoiser(MODES)(x, torch.full((40,), sigma))
        torch.testing.assert_close(found, each)


@pytest.mark.parametrize(
    ("diffusion", "name", "options"),
    [
        ("ve", "heun", {"steps": 30}),
        ("ve", "predictor-corrector", {"steps": 100}),
        ("vp", "euler-maruyama", {"steps": 150}),
        ("vp", "gotta-go-fast", {}),
    ],
)
def test_samplers_draw_the_distribution(diffusion: str, name: str, options: dict[str, object]) -> None:
    model = ExactScore(ExactScore.Config.model_validate({"diffusion": diffusion}))
    x = model.sample(4_000, context(Mixture(), name, **options)).double()
    mean = MODES.weights @ MODES.centers
    second = MODES.covariances + torch.einsum("ki,kj->kij", MODES.centers, MODES.centers)
    covariance = torch.einsum("k,kij->ij", MODES.weights, second) - torch.outer(mean, mean)
    torch.testing.assert_close(x.mean(0), mean, atol=0.08, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.1, rtol=0)


def test_it_is_not_guided() -> None:
    with pytest.raises(trilemma.UnsupportedError, match="early in training"):
        ExactScore().sample(3, context(Mixture(), "heun", guidance=1.0))


def test_it_needs_a_mixture_of_gaussians() -> None:
    class Other(Mixture):
        def modes(self) -> trilemma.Modes | None:
            return None

    for truth in (None, Other()):
        with pytest.raises(trilemma.UnsupportedError, match="mixture of Gaussians"):
            ExactScore().sample(3, context(truth, "heun"))
