"""The denoiser, its score, its probability flow and its parametrizations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trilemma.plugins.diffusion.denoiser import (
    NoisePrediction,
    Preconditioned,
    noise_residual,
    probability_flow,
    score,
    to_variance_exploding,
)


def test_score_and_flow_of_gaussian_data(gaussian: Any) -> None:
    denoise, x, sigma = gaussian.denoiser(), gaussian.points(20), torch.tensor(0.7)
    x = x.requires_grad_()
    distribution = torch.distributions.MultivariateNormal(
        torch.zeros(3).double(), gaussian.covariance + 0.49 * torch.eye(3)
    )
    expected = torch.autograd.grad(distribution.log_prob(x).sum(), x)[0]
    torch.testing.assert_close(score(denoise, x, sigma), expected, atol=1e-6, rtol=1e-6)
    # In coordinates u = x cos(phi), sigma = tan(phi), the distribution is N(0, I + cos^2 (covariance - I)), and its
    # flow at u is half the logarithmic derivative of the covariance in phi: a check by finite differences of the matrix
    # root.
    phi, h = torch.tensor(0.7).double().atan(), 1e-5

    def root(angle: Tensor) -> Tensor:
        variances, axes = torch.linalg.eigh(gaussian.covariance)
        return axes @ torch.diag((1 + angle.cos() ** 2 * (variances - 1)).sqrt()) @ axes.T

    u = x.detach() * phi.cos()
    transport = (root(phi + h) - root(phi - h)) / (2 * h) @ torch.linalg.inv(root(phi))
    torch.testing.assert_close(probability_flow(denoise, u, phi.tan()), u @ transport.T, atol=1e-6, rtol=1e-6)


class Silent(nn.Module):
    """A raw network whose output is 0."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_preconditioning_without_a_network_is_the_denoiser_of_the_standard_normal(
    generator: Callable[..., torch.Generator],
) -> None:
    x = torch.randn((9, 2, 4, 4), generator=generator(), dtype=torch.float64)
    sigma = torch.linspace(0.1, 3, 9, dtype=torch.float64)
    expected = x / (1 + sigma**2).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(Preconditioned(Silent())(x, sigma), expected)


class Echo(nn.Module):
    """A raw network whose output is its input."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return x


def test_noise_prediction_subtracts_the_predicted_noise(generator: Callable[..., torch.Generator]) -> None:
    x, sigma = torch.randn((4, 3), generator=generator()).double(), torch.tensor([0.3, 1.0, 2.0, 9.0]).double()
    s = sigma.unsqueeze(1)
    torch.testing.assert_close(NoisePrediction(Echo())(x, sigma), x - s * x / (1 + s**2).sqrt())


def test_noise_residual_is_the_weighted_score_matching_error(
    gaussian: Any, generator: Callable[..., torch.Generator]
) -> None:
    denoise, x, sigma = gaussian.denoiser(), gaussian.points(6), torch.linspace(0.2, 2, 6).double()
    noise = torch.randn(x.shape, generator=generator(), dtype=torch.float64)
    s = sigma.unsqueeze(1)
    error = score(denoise, x + s * noise, sigma) + noise / s
    torch.testing.assert_close(noise_residual(denoise, x, noise, sigma), sigma**2 * error.square().sum(1))


def test_change_of_coordinates_keeps_unit_variance_data_standard() -> None:
    u = torch.ones((2, 3), dtype=torch.float64)
    torch.testing.assert_close(
        to_variance_exploding(u, torch.tensor([0.0, 3.0]))[:, 0], torch.tensor([1.0, math.sqrt(10)]).double()
    )
