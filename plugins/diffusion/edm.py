"""EDM (Karras et al. 2022) on vectors and on images: the loss with its weighting, and the models."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.divergence import EXACT_UP_TO
from ..networks.mlp import PLENTY, MLPConfig, scarce
from ..networks.points import per_point, standard_normal, stratified
from ..networks.unet import UNET_RECIPE, UNetConfig
from .denoiser import Denoiser, Preconditioned
from .level_head import LevelDenoiser
from .likelihood import OdeDensity, OdeLikelihood
from .model import DenoiserModel
from .ode_samplers import ODE_SAMPLERS, StochasticHeun
from .schedules import VarianceExploding


def stable_target(x: Tensor, noised: Tensor, sigma: Tensor) -> Tensor:
    """E[x_0 | x_t] for each point x_t of `noised`, with x_0 uniform over the batch `x`, shape `(n, *shape)`.

    It replaces the x_0 that x_t was made from as the target in training. The variance of the target is much lower where
    the noise is larger than the distances in the batch, and its bias vanishes as the batch grows (Xu et al. 2023,
    eq. 6).
    """
    distances = torch.cdist(noised.flatten(1), x.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    weights = (-0.5 * (distances / sigma.unsqueeze(1)) ** 2).softmax(1)
    return (weights @ x.flatten(1)).reshape(x.shape)


def edm_loss(
    denoise: Denoiser, x: Tensor, mean: float, deviation: float, generator: torch.Generator, *, stable: bool = False
) -> Tensor:
    """E[lambda |D(x + sigma z) - x|^2] with ln(sigma) ~ N(mean, deviation^2), a mean over points and coordinates.

    With lambda = (1 + sigma^2)/sigma^2 the loss is the same at every noise level when training starts (Karras et al.
    2022, section 5 and table 1 with sigma_data = 1). Noise levels are stratified over the batch. With `stable` the
    target is the `stable_target` instead of x.
    """
    deviate = torch.special.ndtri(stratified(len(x), generator).double().clamp(1e-6, 1 - 1e-6))
    sigma = (mean + deviation * deviate).exp().to(x)
    s = per_point(sigma, x)
    noised = x + s * standard_normal(x, generator)
    target = stable_target(x, noised, sigma) if stable else x
    loss: Tensor = ((1 + s**2) / s**2 * (denoise(noised, sigma) - target) ** 2).mean()
    return loss


class Edm(OdeDensity, DenoiserModel):
    """EDM (Karras et al. 2022), with an MLP denoiser on vectors and flattened images."""

    name = "edm"
    samplers = (*ODE_SAMPLERS, StochasticHeun)

    class Config(MLPConfig):
        """Options of the network and of the noise levels in training."""

        log_sigma_mean: float = Field(-0.8, description="mean of ln(sigma) in training")
        log_sigma_std: float = Field(1.6, gt=0, description="standard deviation of ln(sigma) in training")
        stable_targets: bool | None = Field(
            None,
            description="whether the target in training is the mean of x_0 given x_t over the batch (Xu et al. 2023), "
            f"not x_0 itself as in the paper; default: yes with at least {PLENTY} training points per coordinate",
        )
        sigma_max: float = Field(40.0, gt=0, description="noise level at which sampling starts")

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = VarianceExploding(highest=self.config.sigma_max)
        self.denoiser = Preconditioned(self.config.network(info))
        chosen: bool | None = self.config.stable_targets
        self.stable_targets = not scarce(info) if chosen is None else chosen

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        config = self.config
        stable = self.stable_targets and self.training
        return edm_loss(self.denoiser, x, config.log_sigma_mean, config.log_sigma_std, ctx.generator, stable=stable)


class EdmUnet(OdeDensity, DenoiserModel):
    """EDM (Karras et al. 2022) with a small convolutional U-Net, on images of 8 to 32 pixels a side.

    With the head `levels` the network gives the probabilities of the intensity levels, and the denoiser is the exact
    posterior mean under these probabilities.
    """

    name = "edm-unet"
    accepts = ("image",)
    samplers = (*ODE_SAMPLERS, StochasticHeun)
    validation_draws = 1  # an image has many pixels, so that one draw of the noise suffices
    recipe = UNET_RECIPE

    class Config(UNetConfig):
        """Options of the network and of the noise levels in training."""

        head: Literal["plain", "levels"] = Field(
            "levels",
            description="what the network gives: plain is the denoised image, levels the probabilities of its "
            "intensity levels",
        )
        log_sigma_mean: float = Field(-1.0, description="mean of ln(sigma) in training")
        log_sigma_std: float = Field(1.4, gt=0, description="standard deviation of ln(sigma) in training")
        sigma_max: float = Field(40.0, gt=0, description="noise level at which sampling starts")

    class Likelihood(OdeLikelihood):
        """Options of the probability-flow likelihood."""

        steps: int = Field(18, ge=1, description="number of steps of the fixed-step Runge-Kutta method of order 4")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "hutchinson",
            description=f"exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions",
        )
        probes: int = Field(2, ge=1, description="number of Rademacher probes in Hutchinson's estimate")

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = VarianceExploding(highest=config.sigma_max)
        self.denoiser: nn.Module
        if config.head == "plain":
            self.denoiser = Preconditioned(config.network(info))
        elif info.levels is None or info.support is None:
            raise trilemma.UnsupportedError(f"'{info.name}' has no intensity levels: use the head 'plain'")
        else:
            self.denoiser = LevelDenoiser(config.network(info, info.shape[0] * info.levels), info.levels, info.support)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Set the bias of the intensity levels from their histogram in the training images."""
        if isinstance(self.denoiser, LevelDenoiser):
            self.denoiser.calibrate(train.x)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        return edm_loss(self.denoiser, x, self.config.log_sigma_mean, self.config.log_sigma_std, ctx.generator)
