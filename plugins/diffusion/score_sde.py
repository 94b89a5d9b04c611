"""Score-based generative modeling through stochastic differential equations (Song et al. 2021).

The denoiser works in variance-exploding coordinates x_t / alpha(t), in which linear diffusions differ only in their
time.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import standard_normal, stratified
from .denoiser import PARAMETRIZATIONS, Denoiser, noise_residual
from .likelihood import OdeDensity
from .model import DenoiserModel
from .ode_samplers import ODE_SAMPLERS
from .schedules import Diffusion, SubVariancePreserving, VarianceExploding, VariancePreserving
from .sde_samplers import SDE_SAMPLERS


def training_noise_levels(
    n: int, diffusion: Diffusion, eps: float, weighting: str, generator: torch.Generator
) -> Tensor:
    """The noise levels of a batch of `n` points, `(n,)`, float32, one in each of n equal parts of their distribution.

    With the weighting `variance`, times are uniform in [eps, 1]. With `likelihood`, times have a density proportional
    to g^2 / (alpha sigma)^2, the importance sampling of Song, Durkan, Murray & Ermon 2021 (section 4.2). Because
    g^2 = alpha^2 d(sigma^2)/dt for every linear diffusion, ln(sigma) is then uniform from ln sigma(eps) to ln sigma(1).
    """
    share = stratified(n, generator).double()
    if weighting == "likelihood":
        ends = torch.tensor([eps, 1.0], dtype=torch.float64, device=share.device)
        low, high = diffusion.sigma(ends).log()
        sigma: Tensor = (low + share * (high - low)).exp()
    else:
        sigma = diffusion.sigma(eps + (1 - eps) * share)
    return sigma.float()


def score_sde_loss(
    denoise: Denoiser, x: Tensor, diffusion: Diffusion, eps: float, weighting: str, generator: torch.Generator
) -> Tensor:
    """Denoising score matching, a mean over points and coordinates (Song et al. 2021, eq. 7).

    With the weighting `variance`, the weight is the variance of the perturbation, and times are uniform. With
    `likelihood`, the weight is g^2, and times are importance-sampled (Song, Durkan, Murray & Ermon 2021, eq. 7). Both
    are a mean of the `noise_residual`.
    """
    sigma = training_noise_levels(len(x), diffusion, eps, weighting, generator)
    return noise_residual(denoise, x, standard_normal(x, generator), sigma).mean() / x[0].numel()


class SdeConfig(MLPConfig):
    """Options of the network and of the loss of a score SDE."""

    parametrization: Literal["karras", "noise"] = Field(
        "karras",
        description="what the network predicts: karras is the preconditioned network of EDM; noise is the noise, as in "
        "the paper",
    )
    weighting: Literal["variance", "likelihood"] = Field(
        "variance",
        description="weight of the noise levels in the loss: variance as in the paper, or likelihood for maximum "
        "likelihood (ScoreFlow)",
    )


class LinearBeta(trilemma.Config):
    """Options of a diffusion whose beta is linear in time."""

    beta_min: float = Field(0.1, gt=0, description="beta at time 0")
    beta_max: float = Field(20.0, gt=0, description="beta at time 1")


class VpSde(OdeDensity, DenoiserModel):
    """Score-based diffusion by the variance-preserving SDE (Song et al. 2021), with an MLP denoiser on vectors."""

    name = "vp-sde"
    samplers = (*ODE_SAMPLERS, *SDE_SAMPLERS)

    class Config(LinearBeta, SdeConfig):
        """Options of the network, of the loss and of the diffusion."""

        eps: float = Field(1e-5, gt=0, lt=1, description="smallest time in training")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = VariancePreserving(config.beta_min, config.beta_max)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """`score_sde_loss` over the times from `eps` to 1."""
        config = self.config
        return score_sde_loss(self.denoiser, x, self.diffusion, config.eps, config.weighting, ctx.generator)


class SubVpSde(OdeDensity, DenoiserModel):
    """Score-based diffusion by the sub-VP SDE (Song et al. 2021), with an MLP denoiser on vectors."""

    name = "subvp-sde"
    samplers = (*ODE_SAMPLERS, *SDE_SAMPLERS)

    class Config(LinearBeta, SdeConfig):
        """Options of the network, of the loss and of the diffusion."""

        eps: float = Field(
            3e-3, gt=0, lt=1, description="smallest time in training; at smaller times single precision loses the noise"
        )

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = SubVariancePreserving(config.beta_min, config.beta_max)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """`score_sde_loss` over the times from `eps` to 1."""
        config = self.config
        return score_sde_loss(self.denoiser, x, self.diffusion, config.eps, config.weighting, ctx.generator)


class VeSde(OdeDensity, DenoiserModel):
    """Score-based diffusion by the variance-exploding SDE (Song et al. 2021), with an MLP denoiser on vectors."""

    name = "ve-sde"
    samplers = (*ODE_SAMPLERS, *SDE_SAMPLERS)

    class Config(SdeConfig):
        """Options of the network, of the loss and of the diffusion."""

        sigma_min: float = Field(0.002, gt=0, description="noise level at time 0")
        sigma_max: float = Field(50.0, gt=0, description="noise level at time 1")
        eps: float = Field(1e-5, gt=0, lt=1, description="smallest time in training")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = VarianceExploding(config.sigma_min, config.sigma_max)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """`score_sde_loss` over the times from `eps` to 1."""
        config = self.config
        return score_sde_loss(self.denoiser, x, self.diffusion, config.eps, config.weighting, ctx.generator)
