"""The denoiser for images with discrete intensity levels."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from trilemma.plugins.diffusion.level_head import LevelDenoiser, box_posterior_mean, log_boxes
from trilemma.plugins.networks.unet import UNet

EDGES = torch.tensor([-1.0, -0.4, 0.2, 0.8, 1.4], dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0, 40.0])
def test_posterior_mean_agrees_with_quadrature(generator: Callable[..., torch.Generator], sigma: float) -> None:
    x = torch.linspace(-1.0, 1.4, 9, dtype=torch.float64)
    logits = torch.randn((9, 4), generator=generator(), dtype=torch.float64)
    found = box_posterior_mean(x, torch.tensor(sigma).double(), logits, EDGES)
    y = -1.0 + 2.4 * (torch.arange(48_000, dtype=torch.float64) + 0.5) / 48_000
    level = torch.bucketize(y, EDGES[1:-1])
    for i in range(9):
        weight = logits[i].softmax(0)[level] * (-0.5 * ((x[i] - y) / sigma) ** 2).exp()
        assert float(found[i]) == pytest.approx(float((weight * y).sum() / weight.sum()), abs=2e-4)


def test_log_box_is_accurate_in_both_tails() -> None:
    edges = torch.tensor([-40.0, -35.0, -1.0, 0.0, 2.0, 35.0, 40.0], dtype=torch.float64)
    found = log_boxes(edges)
    # The mass beyond 40 is negligible compared to the mass beyond 35.
    assert float(found[-1]) == pytest.approx(float(torch.special.log_ndtr(torch.tensor(-35.0).double())), abs=1e-9)
    assert float(found[2]) == pytest.approx(math.log(0.3413447460685429))
    assert float(found[3]) == pytest.approx(math.log(0.4772498680518208))
    torch.testing.assert_close(found, log_boxes(-edges.flip(0)).flip(0))


def test_gradient_is_finite_in_the_middle_of_a_box() -> None:
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    mean = box_posterior_mean(
        x, torch.ones(1).double(), torch.zeros((1, 1)).double(), torch.tensor([-1.0, 1.0]).double()
    )
    (slope,) = torch.autograd.grad(mean.sum(), x)
    # The slope of a posterior mean is the posterior variance over sigma^2, here that of a standard normal on [-1, 1].
    inside, edge = math.erf(1 / math.sqrt(2)), math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert float(slope) == pytest.approx(1 - 2 * edge / inside)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 40.0])
def test_level_denoiser_is_finite_with_gradients_everywhere(
    generator: Callable[..., torch.Generator], sigma: float
) -> None:
    denoiser = LevelDenoiser(UNet((1, 8, 8), 4), 4, (-1.0, 1.4))
    x = (10 * torch.randn((6, 1, 8, 8), generator=generator())).requires_grad_()
    value = denoiser(x, torch.tensor(sigma))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    assert value.min() >= denoiser.edges[0] - 1e-6
    assert value.max() <= denoiser.edges[-1] + 1e-6


@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_level_denoiser_does_not_clip_noisy_points(sigma: float) -> None:
    # Half of the points of a distribution at an end of the support are outside it once they have noise. The network
    # starts at 0.
    denoiser = LevelDenoiser(UNet((1, 8, 8), 4), 4, (-1.0, 1.4))
    beyond = sigma * torch.linspace(0, 5, 32)
    x = torch.cat([-1.0 - beyond, 1.4 + beyond]).reshape(1, 1, 8, 8)
    found = denoiser(x, torch.tensor(sigma)).flatten().double()
    y = torch.linspace(-1.0, 1.4, 120_001, dtype=torch.float64)
    weight = (-0.5 * ((x.double().reshape(-1, 1) - y) / sigma) ** 2).softmax(1)
    torch.testing.assert_close(found, weight @ y, atol=1e-4, rtol=0)


def test_calibration_finds_the_histogram(generator: Callable[..., torch.Generator]) -> None:
    level = torch.randint(0, 4, (20_000, 1, 2, 2), generator=generator())
    level[:10_000] = level[:10_000].clamp(min=1)
    u = torch.rand(level.shape, generator=generator(1))
    denoiser = LevelDenoiser(nn.Identity(), 4, (-1.0, 1.4))
    denoiser.calibrate((level + u) * 0.6 - 1)
    torch.testing.assert_close(denoiser.bias.exp(), torch.tensor([1.0, 3.0, 2.0, 2.0]) / 8, atol=0.01, rtol=0)


@pytest.mark.parametrize("sigma", [0.002, 0.1])
def test_points_on_the_edges_of_boxes_have_finite_gradients(sigma: float) -> None:
    x = EDGES.clone().requires_grad_()
    value = box_posterior_mean(x, torch.tensor(sigma).double(), torch.zeros((5, 4)).double(), EDGES)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(gradient).all()
