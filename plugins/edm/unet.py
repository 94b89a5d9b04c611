"""EDM (Karras et al. 2022) on images, with a small U-Net, and optionally an output that knows the data's levels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

import trilemma
from trilemma.plugins.denoiser import Preconditioned
from trilemma.plugins.diffusion_model import DiffusionModel, FlowDensity
from trilemma.plugins.edm.edm import edm_loss
from trilemma.plugins.edm.levels import LevelDenoiser
from trilemma.plugins.ode_likelihood import EXACT_UP_TO
from trilemma.plugins.samplers import ODE_SAMPLERS, StochasticHeun
from trilemma.plugins.schedules import VarianceExploding
from trilemma.plugins.unet import UNetConfig


class EdmUnet(DiffusionModel):
    """EDM (Karras et al. 2022) with a small convolutional U-Net, on images of 8 to 32 pixels a side.

    With the head `levels` the network gives the probabilities of the intensity levels, and the denoiser is the exact
    posterior mean under them.
    """

    name = "edm-unet"
    accepts = ("image",)
    samplers = (*ODE_SAMPLERS, StochasticHeun)
    validation_draws = 1  # points have many pixels already
    recipe = trilemma.Recipe(
        lr=4e-3, batch_size=64, betas=(0.9, 0.99), weight_decay=0.01, warmup=100, schedule="cosine", ema=0.998
    )

    class Config(UNetConfig):
        """The network and the noise seen in training."""

        head: Literal["plain", "levels"] = Field(
            "levels", description="the denoised image itself, or the probabilities of its intensity levels"
        )
        log_sigma_mean: float = Field(-1.0, description="mean of ln(sigma) in training")
        log_sigma_std: float = Field(1.4, gt=0, description="standard deviation of ln(sigma) in training")
        sigma_max: float = Field(40.0, gt=0, description="noise level at which sampling starts")

    class Density(FlowDensity):
        """Options of the probability-flow likelihood."""

        steps: int = Field(18, ge=1, description="steps of the fixed-step Runge-Kutta method of order 4")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "hutchinson", description=f"exact, Hutchinson's estimate, or auto: exact up to {EXACT_UP_TO} dimensions"
        )
        probes: int = Field(2, ge=1, description="Rademacher probes of Hutchinson's estimate")

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
        """Set the bias of the levels by their histogram."""
        if isinstance(self.denoiser, LevelDenoiser):
            self.denoiser.calibrate(train.x)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        return edm_loss(self.denoiser, x, self.config.log_sigma_mean, self.config.log_sigma_std, ctx.generator)
