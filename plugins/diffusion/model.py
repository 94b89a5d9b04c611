"""What models that consist of a denoiser and a diffusion share: samples, scores, and their form for images."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.divergence import EXACT_UP_TO
from ..networks.mlp import MLP_RECIPE
from ..networks.points import ROWS
from ..networks.runge_kutta import DIVIDED
from ..networks.unet import UNET_RECIPE
from .autoguidance import Guided
from .denoiser import Denoiser, DenoiserSampler, score
from .likelihood import OdeDensity, OdeLikelihood
from .schedules import Diffusion

VALIDATION_DRAWS = 8
"""Draws of the noise for each validation point. With few draws, chance would decide which weights are kept."""


def repeated(x: Tensor, times: int) -> Tensor:
    """The points `(n, *shape)`, each repeated `times` times: `(times n, *shape)`."""
    return x.repeat(times, *[1] * (x.ndim - 1))


class GivesDenoiser(Protocol):
    """What gives a sampler setting its denoiser, guided or not."""

    def guided(self, sampler: DenoiserSampler) -> Denoiser:
        """The denoiser. Raises UnsupportedError if it cannot be guided as the setting asks."""
        ...


@torch.no_grad()
def draw_samples(model: GivesDenoiser, diffusion: Diffusion, n: int, ctx: trilemma.Context) -> Tensor:
    """Draw `n` points with the sampler of the context, `ROWS` points at a time."""
    sampler = ctx.sampler
    assert isinstance(sampler, DenoiserSampler)
    denoise = model.guided(sampler)
    parts = []
    for rows in torch.split(torch.arange(n), ROWS):
        noise = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        parts.append(sampler.draw(denoise, noise, diffusion, ctx))
    return torch.cat(parts)


class Denoising:
    """A mixin for neural models that consist of a denoiser and a diffusion: it draws samples and gives scores.

    The model sets both in `build` and defines the loss.
    """

    family: ClassVar[str] = "diffusion"
    recipe: ClassVar[trilemma.Recipe] = MLP_RECIPE
    validation_draws: ClassVar[int] = VALIDATION_DRAWS
    config: Any
    diffusion: Diffusion
    denoiser: nn.Module

    @abstractmethod
    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The scalar training loss of a minibatch `x`, shape `(batch, *info.shape)`."""

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.loss(repeated(x, self.validation_draws), ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        assert isinstance(self, Guided)
        return draw_samples(self, self.diffusion, n, ctx)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)

    def score_levels(self) -> tuple[float, float]:
        """The ends of the noise levels that the denoiser is trained at."""
        return self.diffusion.trained_levels()


class OnImages:
    """A mixin that makes the form for images of a model. Its `Config` then has the options of a `UNetConfig`."""

    accepts: ClassVar[tuple[str, ...]] = ("image",)
    recipe: ClassVar[trilemma.Recipe] = UNET_RECIPE
    validation_draws: ClassVar[int] = 1  # an image has many pixels, so that one draw of the noise suffices


class OdeDensityOnImages(OnImages, OdeDensity):
    """A mixin that makes the form for images of a model with the log-density of the probability-flow ODE.

    Images have many pixels, so that the divergence is estimated unless an option says otherwise.
    """

    class Likelihood(OdeLikelihood):
        """Options of the probability-flow likelihood."""

        steps: int = Field(18, ge=1, description=f"number of steps of the Runge-Kutta method of order 4{DIVIDED}")
        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "hutchinson",
            description=f"exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions",
        )
        probes: int = Field(2, ge=1, description="number of Rademacher probes in Hutchinson's estimate")
