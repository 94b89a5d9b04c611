"""The denoiser D(x, sigma), the interface that all diffusion models share, with its score and its probability flow.

D(x, sigma) estimates E[x_0 | x_0 + sigma z = x]. `x` has shape `(n, *shape)`; `sigma` is a scalar or has shape `(n,)`.
A parametrization makes a denoiser from a raw network F.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.points import per_point
from .schedules import Diffusion

Denoiser = Callable[[Tensor, Tensor], Tensor]

Show = Callable[[int, Tensor], None]
"""A function that is shown the number of steps so far, and the points `(n, *shape)` after them."""


def unseen(steps: int, x: Tensor) -> None:
    """Show the points to nobody."""


class DenoiserSampler(trilemma.Sampler):
    """A sampler that needs only a denoiser and its diffusion.

    It shows its chain, unless it says otherwise. Points at a noise level are shown in variance-preserving coordinates,
    in which they have about the scale of the data at every noise level.
    """

    shows_chain = True
    guidance: float = Field(
        0.0,
        ge=0,
        description="weight w of autoguidance, D + w (D - D_0) with the model's own weights D_0 early in training, at "
        "twice the evaluations; 0 is none",
    )

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


def to_variance_preserving(x: Tensor, sigma: Tensor) -> Tensor:
    """Convert variance-exploding coordinates to variance-preserving coordinates: u = x / sqrt(1 + sigma^2)."""
    return x * (1 + per_point(sigma, x) ** 2).rsqrt()


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of a parametrization at noise levels of any shape.

    `gain` is c_out / sigma, and `lack` is (1 - c_skip) / sigma, both without a difference of nearly equal numbers.
    """

    skip: Tensor
    gain: Tensor
    scale: Tensor
    lack: Tensor


class Parametrized(nn.Module):
    """D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma)/4) around a raw network F (Karras et al. 2022, eq. 7).

    A subclass gives the `coefficients`. All are for data of unit variance.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def coefficients(self, sigma: Tensor) -> Coefficients:
        """The coefficients, each of the shape of `sigma`."""

    def label(self, sigma: Tensor) -> Tensor:
        """What the raw network sees of the noise levels `(n,)`: c_noise = ln(sigma)/4, shape `(n,)`."""
        return sigma.log() / 4

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.to(x).expand(len(x))
        return self.denoised(x, sigma, self.raw(x, sigma))

    def raw(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The output of the network, for noise levels `(n,)`. It may have more channels than `x`."""
        value: Tensor = self.network(self.coefficients(per_point(sigma, x)).scale * x, self.label(sigma))
        return value

    def denoised(self, x: Tensor, sigma: Tensor, raw: Tensor) -> Tensor:
        """D(x, sigma), given the output `raw` of the network, of the shape of `x`, for noise levels `(n,)`."""
        s = per_point(sigma, x)
        c = self.coefficients(s)
        return c.skip * x + s * c.gain * raw

    def scaled_error(self, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """(D(x + sigma noise, sigma) - x) / sigma, of the shape of `x`, for noise levels `(n,)`.

        It equals c_skip noise - (1 - c_skip)/sigma x + c_out/sigma F. In this form single precision suffices at every
        noise level, unless the network predicts the data. The difference D - x would lose the noise at noise levels
        below 1e-5.
        """
        sigma = sigma.to(x)
        s = per_point(sigma, x)
        c = self.coefficients(s)
        return c.skip * noise - c.lack * x + c.gain * self.raw(x + s * noise, sigma)


class Preconditioned(Parametrized):
    """c_skip = 1/(1 + sigma^2), c_out = sigma/sqrt(1 + sigma^2), c_in = 1/sqrt(1 + sigma^2).

    Source: Karras et al. 2022, table 1, with sigma_data = 1. The `probability_flow` of this denoiser is -F.
    """

    def coefficients(self, sigma: Tensor) -> Coefficients:
        c_in = (1 + sigma**2).rsqrt()
        return Coefficients(skip=c_in**2, gain=c_in, scale=c_in, lack=sigma * c_in**2)


class NoisePrediction(Parametrized):
    """D(x, sigma) = x - sigma F(x / sqrt(1 + sigma^2), ln(sigma)/4): the raw network predicts the noise itself.

    This is the parametrization of Ho et al. 2020 (eq. 15). Its score is -F / sigma, as in Song & Ermon 2020.
    """

    def coefficients(self, sigma: Tensor) -> Coefficients:
        one = torch.ones_like(sigma)
        return Coefficients(skip=one, gain=-one, scale=(1 + sigma**2).rsqrt(), lack=torch.zeros_like(sigma))


class VelocityPrediction(Parametrized):
    """D(x, sigma) = (x + sigma F(x / (1 + sigma), ln(sigma)/4)) / (1 + sigma): the raw network predicts a velocity.

    F is dx_s/ds along x_s = (1 - s) z + s x_0, the vector field of flow matching (Lipman et al. 2023, section 4), with
    s = 1/(1 + sigma) and x_s = s x.
    """

    def coefficients(self, sigma: Tensor) -> Coefficients:
        share = 1 / (1 + sigma)
        return Coefficients(skip=share, gain=share, scale=share, lack=share)


class UnscaledPrediction(Parametrized):
    """D(x, sigma) = x + sigma F(x, ln(sigma)/4): the raw network sees x as it is, and its score is F / sigma.

    This is the parametrization of NCSN++ for the VE SDE (Karras et al. 2022, table 1).
    """

    def coefficients(self, sigma: Tensor) -> Coefficients:
        one = torch.ones_like(sigma)
        return Coefficients(skip=one, gain=one, scale=one, lack=torch.zeros_like(sigma))


class DataPrediction(Parametrized):
    """D(x, sigma) = F(x / sqrt(1 + sigma^2), ln(sigma)/4): the raw network predicts the clean point itself."""

    def coefficients(self, sigma: Tensor) -> Coefficients:
        inverse = 1 / sigma
        return Coefficients(torch.zeros_like(sigma), gain=inverse, scale=(1 + sigma**2).rsqrt(), lack=inverse)


class Mixed(Parametrized):
    """A network that sees its input as in one parametrization and predicts what it does in another."""

    def __init__(self, network: nn.Module, seen: type[Parametrized], predicted: type[Parametrized]) -> None:
        super().__init__(network)
        self.seen, self.predicted = seen(nn.Identity()), predicted(nn.Identity())

    def coefficients(self, sigma: Tensor) -> Coefficients:
        return replace(self.predicted.coefficients(sigma), scale=self.seen.coefficients(sigma).scale)


PARAMETRIZATIONS: dict[str, type[Parametrized]] = {"karras": Preconditioned, "noise": NoisePrediction}
"""The class of the denoiser, by the name of what the raw network predicts."""


def scaled_error(denoise: Denoiser, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """(D(x + sigma noise, sigma) - x) / sigma, of the shape of `x`. `sigma` has shape `()` or `(n,)`."""
    if isinstance(denoise, Parametrized):
        return denoise.scaled_error(x, noise, sigma.expand(len(x)))
    s = per_point(sigma, x)
    return (denoise(x + s * noise, sigma) - x) / s


def noise_residual(denoise: Denoiser, x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """|D - x|^2 / sigma^2 at x_t = x + sigma noise, the squared error of the predicted noise, shape `(n,)`.

    It equals sigma^2 |s(x_t, sigma) - grad log p(x_t | x)|^2, the denoising score matching term of Song et al. 2021
    (eq. 7, where lambda is the variance of the perturbation).
    """
    return scaled_error(denoise, x, noise, sigma).square().flatten(1).sum(1)
