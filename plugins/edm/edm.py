"""EDM (Karras et al. 2022): preconditioning, loss weighting, and the samplers over noise levels."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.plugins.denoiser import Denoiser, Preconditioned, noise_residual, standard_normal
from trilemma.plugins.diffusion_model import DiffusionModel, NetworkConfig
from trilemma.plugins.samplers import ODE_SAMPLERS, StochasticHeun
from trilemma.plugins.schedules import VarianceExploding, stratified


def edm_loss(denoise: Denoiser, x: Tensor, mean: float, deviation: float, generator: torch.Generator) -> Tensor:
    """E[lambda |D(x + sigma z) - x|^2] with ln(sigma) ~ N(mean, deviation^2), a mean over points and coordinates.

    lambda = (1 + sigma^2)/sigma^2, so that every noise level starts with the same loss (Karras et al. 2022, section 5
    and table 1 with sigma_data = 1). Noise levels are stratified over the batch.
    """
    level = torch.special.ndtri(stratified(len(x), generator).double().clamp(1e-6, 1 - 1e-6))
    sigma = (mean + deviation * level).exp().to(x)
    residual = noise_residual(denoise, x, standard_normal(x, generator), sigma)
    loss: Tensor = ((1 + sigma**2) * residual).mean() / x[0].numel()
    return loss


class Edm(DiffusionModel):
    """EDM (Karras et al. 2022), with an MLP denoiser on vectors and flattened images."""

    name = "edm"
    samplers = (*ODE_SAMPLERS, StochasticHeun)

    class Config(NetworkConfig):
        """The network and the noise seen in training."""

        log_sigma_mean: float = Field(-0.8, description="mean of ln(sigma) in training")
        log_sigma_std: float = Field(1.6, gt=0, description="standard deviation of ln(sigma) in training")
        sigma_max: float = Field(40.0, gt=0, description="noise level at which sampling starts")

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = VarianceExploding(highest=self.config.sigma_max)
        self.denoiser = Preconditioned(self.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        return edm_loss(self.denoiser, x, self.config.log_sigma_mean, self.config.log_sigma_std, ctx.generator)
