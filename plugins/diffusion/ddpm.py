"""DDPM (Ho et al. 2020): the loss L_simple over a chain of noise levels, and the variational bound."""

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
from .model import Denoising
from .schedules import DiscreteVariancePreserving


class BoundLikelihood(trilemma.Config):
    """Options of the variational bound."""

    variance: Variance = Field(
        "large",
        description="variance of a step of the model: small is the variance of the posterior, large the variance of "
        "the forward step",
    )
    draws: int = Field(1, ge=1, description="draws of the noise at every noise level; the bound is averaged over them")


class ChainOptions(trilemma.Config):
    """Options of the chain of noise levels and of the network's prediction."""

    steps: int = Field(100, ge=2, description="number of steps T of the chain")
    beta_min: float = Field(0.1, gt=0, description="beta of the first step, times T")
    beta_max: float = Field(20.0, gt=0, description="beta of the last step, times T")
    parametrization: Literal["karras", "noise"] = Field(
        "noise",
        description="what the network predicts: noise is the noise, as in the paper; karras is the preconditioned "
        "network of EDM",
    )


class Ddpm(Denoising, trilemma.NeuralModel):
    """Denoising diffusion probabilistic model, DDPM (Ho et al. 2020), with an MLP on vectors.

    The likelihood is the variational bound. The estimate of x_0 is not clipped, because standardized vectors have no
    bounds.
    """

    name = "ddpm"
    likelihood = "bound"
    samplers = (StridedAncestral, StridedDdim)
    diffusion: DiscreteVariancePreserving

    class Config(ChainOptions, MLPConfig):
        """Options of the network and of the chain of noise levels."""

    class Likelihood(BoundLikelihood):
        """Options of the variational bound."""

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = DiscreteVariancePreserving(config.beta_min, config.beta_max, config.steps)
        self.denoiser = PARAMETRIZATIONS[config.parametrization](config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """L_simple: the mean squared error of the predicted noise, per coordinate, at a uniformly drawn noise level.

        Source: Ho et al. 2020, eq. 14.
        """
        sigmas = self.diffusion.noise_levels().to(x)
        index = (stratified(len(x), ctx.generator) * len(sigmas)).long()
        return noise_residual(self.denoiser, x, standard_normal(x, ctx.generator), sigmas[index]).mean() / ctx.info.dim

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The variational bound (Ho et al. 2020, eq. 5), shape `(n,)`.

        The means of its terms L_T, L_1:T-1 and L_0 are in the details.
        """
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
