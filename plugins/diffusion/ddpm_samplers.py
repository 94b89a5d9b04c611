"""Samplers over the chain of DDPM, or over evenly spaced noise levels of it, with their options."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .denoiser import Denoiser, DenoiserSampler
from .ode import ddim
from .reverse_chain import Variance, ancestral, prediction
from .schedules import Diffusion, DiscreteDiffusion


def strided(sigmas: Tensor, steps: int) -> Tensor:
    """`steps` evenly spaced noise levels, from the first to the last; all if there are no more than `steps`."""
    if steps >= len(sigmas):
        return sigmas
    return sigmas[torch.linspace(0, len(sigmas) - 1, steps).round().long()]


class LevelGrid(trilemma.Config):
    """The option of samplers over evenly spaced noise levels of training (Nichol & Dhariwal 2021, section 4)."""

    steps: int = Field(100, ge=1, description="number of noise levels used, at most the number in training")

    def grid(self, diffusion: Diffusion) -> Tensor:
        """The noise levels, in falling order."""
        assert isinstance(diffusion, DiscreteDiffusion)
        return strided(diffusion.noise_levels(), self.steps)


class StridedAncestral(LevelGrid, DenoiserSampler):
    """Ancestral sampling (Ho et al. 2020, algorithm 2) over evenly spaced noise levels, with `steps` evaluations.

    The variances are those of the chain of these noise levels. With fewer than all of them it is the respaced chain of
    Improved DDPM.
    """

    name = "ancestral"
    variance: Variance = Field(
        "model",
        description="variance of a step: model is the variance of the model's options, small that of the posterior, "
        "large that of the forward step",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ancestral(prediction(denoise, self.variance), noise, self.grid(diffusion), ctx.generator, show=ctx.show)


class StridedDdim(LevelGrid, DenoiserSampler):
    """DDIM (Song, Meng & Ermon 2021, eq. 12) over evenly spaced noise levels, with `steps` evaluations.

    The last step gives the estimate of x_0, without noise for every `eta`.
    """

    name = "ddim"
    steps: int = Field(20, ge=1, description="number of noise levels used, at most the number in training")
    eta: float = Field(
        0.0,
        ge=0,
        le=1,
        description="noise of a step, as a share of the noise of ancestral sampling with the variance `small`: 0 is "
        "deterministic",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, self.grid(diffusion), self.eta, ctx.generator, show=ctx.show)
