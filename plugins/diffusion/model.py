"""The base of the models that are a denoiser and a diffusion: sampling, likelihood and score are the same for all."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLP_RECIPE, MLPConfig
from ..networks.points import ROWS
from .bounds import continuous_bound
from .denoiser import NoisePrediction, Preconditioned, score
from .likelihood import OdeLikelihood, ode_log_prob
from .samplers import DenoiserSampler
from .schedules import Diffusion


class FlowLikelihood(OdeLikelihood):
    """Options of the probability-flow likelihood, and of the variational bound that is reported beside it."""

    bound_draws: int = Field(
        0, ge=0, description="noise levels drawn per point for the variational bound; 0: it is not computed"
    )


class DenoiserModel(trilemma.NeuralModel):
    """A denoiser with a diffusion: samples and scores. Subclasses set both in `build` and write the loss."""

    recipe = MLP_RECIPE
    diffusion: Diffusion
    denoiser: nn.Module

    class Config(MLPConfig):
        """The network."""

    def network(self, info: trilemma.DataInfo) -> nn.Module:
        """A raw network for a data shape, by the config's fields."""
        network: nn.Module = self.config.network(info)
        return network

    validation_draws: ClassVar[int] = 8
    """Draws of the noise for each validation point: with few, it is noise that chooses among good weights."""

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.loss(x.repeat(self.validation_draws, *[1] * (x.ndim - 1)), ctx)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        sampler = ctx.sampler
        assert isinstance(sampler, DenoiserSampler)
        parts = []
        for rows in torch.split(torch.arange(n), ROWS):
            noise = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            parts.append(sampler.draw(self.denoiser, noise, self.diffusion, ctx))
        return torch.cat(parts)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)


class DiffusionModel(DenoiserModel):
    """A denoiser over all noise levels up to the diffusion's largest, with the probability-flow likelihood."""

    likelihood = "ode"

    class Likelihood(FlowLikelihood):
        """Options of the probability-flow likelihood."""

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        options = ctx.likelihood
        assert isinstance(options, FlowLikelihood)
        sigma_max = self.diffusion.sigma_max
        parts = []
        for part in torch.split(x, ROWS):
            values, details = ode_log_prob(self.denoiser, part, sigma_max, options, ctx.generator)
            parts.append(values)
            ctx.details.update(details)
        values = torch.cat(parts)
        if options.bound_draws > 0:
            bound = continuous_bound(self.denoiser, x, options.sigma_min, sigma_max, options.bound_draws, ctx.generator)
            # A difference of log-densities: the same in every space.
            ctx.details["bound_excess"] = float((values - bound.total).mean())
        return values


PARAMETRIZATIONS: dict[str, type[nn.Module]] = {"karras": Preconditioned, "noise": NoisePrediction}
"""What the raw network predicts -> the denoiser around it."""
