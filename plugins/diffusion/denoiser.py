"""The denoiser D(x, sigma), the interface that all diffusion models share, with its score and its probability flow.

D(x, sigma) estimates E[x_0 | x_0 + sigma z = x]. `x` has shape `(n, *shape)`; `sigma` is a scalar or has shape `(n,)`.
A parametrization makes a denoiser from a raw network F.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

import trilemma

from ..networks.points import per_point
from .schedules import Diffusion

Denoiser = Callable[[Tensor, Tensor], Tensor]


class DenoiserSampler(trilemma.Sampler):
    """A sampler that needs only a denoiser and its diffusion."""

    @abstractmethod
    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        """Turn standard normal `noise` of shape `(n, *shape)` into samples."""


def score(denoise: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
    """The score of the distribution of x_0 + sigma z: (D(x, sigma) - x) / sigma^2."""
    return (denoise(x, sigma) - x) / per_point(sigma, x) ** 2


def probability_flow(denoise: Denoiser, u: Tensor, sigma: Tensor) -> Tensor:
    """du/dphi of the probability-flow ODE in variance-preserving coordinates u = x cos(phi), with sigma = tan(phi).

    du/dphi is (u cos(phi) - D(x, sigma)) / sin(phi), the v-prediction of Salimans & Ho 2022. The flow is the same as
    that of dx/dsigma = (x - D)/sigma (Karras et al. 2022, eq. 3). In these coordinates points of unit-variance data
    hardly move, so that solvers need fewer steps.
    """
    s = per_point(sigma, u)
    cos = (1 + s**2).rsqrt()
    return (u * cos - denoise(u / cos, sigma)) / (s * cos)


def to_variance_exploding(u: Tensor, sigma: Tensor) -> Tensor:
    """Convert variance-preserving coordinates to variance-exploding coordinates: x = u sqrt(1 + sigma^2)."""
    return u * (1 + per_point(sigma, u) ** 2).sqrt()


class Preconditioned(nn.Module):
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise) around a raw network F, for data of unit variance.

    c_skip = 1/(1 + sigma^2), c_out = sigma/sqrt(1 + sigma^2), c_in = 1/sqrt(1 + sigma^2), c_noise = ln(sigma)/4
    (Karras et al. 2022, table 1, sigma_data = 1). The `probability_flow` of this denoiser is -F.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.to(x).expand(len(x))
        s = per_point(sigma, x)
        c_in = (1 + s**2).rsqrt()
        raw: Tensor = self.network(c_in * x, sigma.log() / 4)
        return c_in**2 * x + s * c_in * raw


class NoisePrediction(nn.Module):
    """D(x, sigma) = x - sigma F(x / sqrt(1 + sigma^2), ln(sigma)/4): the raw network predicts the noise itself.

    This is the parametrization of Ho et al. 2020 (eq. 15). Its score is -F / sigma, as in Song & Ermon 2020.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.to(x).expand(len(x))
        s = per_point(sigma, x)
        raw: Tensor = self.network((1 + s**2).rsqrt() * x, sigma.log() / 4)
        return x - s * raw


class VelocityPrediction(nn.Module):
    """D(x, sigma) = (x + sigma F(x / (1 + sigma), ln(sigma)/4)) / (1 + sigma): the raw network predicts a velocity.

    F is dx_s/ds along x_s = (1 - s) z + s x_0, the vector field of flow matching (Lipman et al. 2023, section 4), with
    s = 1/(1 + sigma) and x_s = s x.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.to(x).expand(len(x))
        share = per_point(1 / (1 + sigma), x)
        raw: Tensor = self.network(share * x, sigma.log() / 4)
        return share * x + (1 - share) * raw


PARAMETRIZATIONS: dict[str, type[nn.Module]] = {"karras": Preconditioned, "noise": NoisePrediction}
"""The class of the denoiser, by the name of what the raw network predicts."""


def noise_residual(denoise: Denoiser, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """|D - x|^2 / sigma^2 at x_t = x + sigma noise, the squared error of the predicted noise, shape `(n,)`.

    It equals sigma^2 |s(x_t, sigma) - grad log p(x_t | x)|^2, the denoising score matching term of Song et al. 2021
    (eq. 7, where lambda is the variance of the perturbation).
    """
    s = per_point(sigma, x)
    return ((denoise(x + s * noise, sigma) - x) / s).square().flatten(1).sum(1)
