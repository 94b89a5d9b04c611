"""The base class of models that consist of a denoiser and a diffusion. It draws samples and gives scores."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLP_RECIPE, MLPConfig
from ..networks.points import ROWS
from .denoiser import Denoiser, DenoiserSampler, score
from .schedules import Diffusion

VALIDATION_DRAWS = 8
"""Draws of the noise for each validation point. With few draws, chance would decide which weights are kept."""


def repeated(x: Tensor, times: int) -> Tensor:
    """The points `(n, *shape)`, each repeated `times` times: `(times n, *shape)`."""
    return x.repeat(times, *[1] * (x.ndim - 1))


@torch.no_grad()
def draw_samples(denoise: Denoiser, diffusion: Diffusion, n: int, ctx: trilemma.Context) -> Tensor:
    """Draw `n` points with the sampler of the context, `ROWS` points at a time."""
    sampler = ctx.sampler
    assert isinstance(sampler, DenoiserSampler)
    parts = []
    for rows in torch.split(torch.arange(n), ROWS):
        noise = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        parts.append(sampler.draw(denoise, noise, diffusion, ctx))
    return torch.cat(parts)


class DenoiserModel(trilemma.NeuralModel):
    """A model that consists of a denoiser and a diffusion.

    Subclasses set both in `build` and define the loss.
    """

    family = "diffusion"
    recipe = MLP_RECIPE
    validation_draws: ClassVar[int] = VALIDATION_DRAWS
    diffusion: Diffusion
    denoiser: nn.Module

    class Config(MLPConfig):
        """Options of the network."""

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.loss(repeated(x, self.validation_draws), ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return draw_samples(self.denoiser, self.diffusion, n, ctx)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)
