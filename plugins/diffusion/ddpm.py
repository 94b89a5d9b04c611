"""DDPM (Ho et al. 2020): L_simple over a chain of noise levels, ancestral sampling and DDIM, the variational bound."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import ROWS, standard_normal, stratified
from .bounds import Bound, Variance, discrete_bound
from .denoiser import PARAMETRIZATIONS, noise_residual
from .langevin_samplers import StridedAncestral, StridedDdim
from .model import DenoiserModel
from .schedules import DiscreteVariancePreserving


class BoundLikelihood(trilemma.Config):
    """Options of the variational bound."""

    variance: Variance = Field(
        "large", description="variance of a step of the model: small, the posterior's own, or large, the forward step's"
    )
    draws: int = Field(1, ge=1, description="draws of the noise at every noise level over which the bound is averaged")


class Ddpm(DenoiserModel):
    """Denoising diffusion (Ho et al. 2020), with an MLP on vectors. Its likelihood is the variational bound.

    The estimate of x_0 is not clipped: standardized vectors have no bounds.
    """

    name = "ddpm"
    likelihood = "bound"
    samplers = (StridedAncestral, StridedDdim)
    diffusion: DiscreteVariancePreserving

    class Config(MLPConfig):
        """The network and the chain."""

        steps: int = Field(100, ge=2, description="steps T of the chain")
        beta_min: float = Field(0.1, gt=0, description="beta of the first step, times T")
        beta_max: float = Field(20.0, gt=0, description="beta of the last step, times T")
        parametrization: Literal["karras", "noise"] = Field(
            "noise", description="what the network predicts: the noise as in the paper, or preconditioned as in EDM"
        )

    class Likelihood(BoundLikelihood):
        """Options of the variational bound."""

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = DiscreteVariancePreserving(config.beta_min, config.beta_max, config.steps)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """L_simple, E|noise - its estimate|^2 at a noise level drawn uniformly, per coordinate.

        Source: Ho et al. 2020, eq. 14.
        """
        sigmas = self.diffusion.noise_levels().to(x)
        index = (stratified(len(x), ctx.generator) * len(sigmas)).long()
        return noise_residual(self.denoiser, x, standard_normal(x, ctx.generator), sigmas[index]).mean() / ctx.info.dim

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The variational bound (Ho et al. 2020, eq. 5); its mean terms L_T, L_1:T-1 and L_0 are in the details."""
        options, sigmas = ctx.likelihood, self.diffusion.noise_levels()
        assert isinstance(options, BoundLikelihood)
        parts = []
        for part in torch.split(x, ROWS):
            bounds = [
                discrete_bound(self.denoiser, part, sigmas, ctx.generator, options.variance)
                for _ in range(options.draws)
            ]
            parts.append(torch.stack([torch.stack([b.prior, b.diffusion, b.reconstruction]) for b in bounds]).mean(0))
        bound = Bound(*torch.cat(parts, dim=1))
        ctx.details.update({"steps": self.diffusion.steps, "terms": bound.means()})
        return bound.total
