"""Langevin dynamics, and the samplers of models that know finitely many noise levels, with their options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .denoiser import Denoiser, DenoiserSampler, score, to_variance_exploding
from .langevin import annealed_langevin, langevin
from .ode import ddim
from .schedules import Diffusion, DiscreteDiffusion


def noise_levels_of(diffusion: Diffusion) -> Tensor:
    """The noise levels of a discrete diffusion, falling."""
    assert isinstance(diffusion, DiscreteDiffusion)
    return diffusion.noise_levels()


def strided(sigmas: Tensor, steps: int) -> Tensor:
    """`steps` of the noise levels, evenly spaced, the first and the last among them (all where there are no more)."""
    if steps >= len(sigmas):
        return sigmas
    return sigmas[torch.linspace(0, len(sigmas) - 1, steps).round().long()]


class StridedAncestral(DenoiserSampler):
    """Ancestral sampling over the noise levels of training, or evenly spaced ones of them: `steps` evaluations.

    The step has the mean of the posterior q(x_s | x_t, x_0) at the estimated x_0 (Ho et al. 2020, eq. 7).
    """

    name = "ancestral"
    steps: int = Field(100, ge=1, description="noise levels used, at most those of training")
    variance: Literal["small", "large"] = Field(
        "small", description="variance of a step: the posterior's own, or the forward step's"
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigmas = strided(noise_levels_of(diffusion), self.steps)
        return ddim(denoise, noise, sigmas, 1.0, ctx.generator, large=self.variance == "large")


class StridedDdim(DenoiserSampler):
    """DDIM over the noise levels of training, or evenly spaced ones of them: `steps` evaluations (Song et al. 2021)."""

    name = "ddim"
    steps: int = Field(20, ge=1, description="noise levels used, at most those of training")
    eta: float = Field(0.0, ge=0, le=1, description="share of the ancestral deviation that is drawn")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, strided(noise_levels_of(diffusion), self.steps), self.eta, ctx.generator)


class AnnealedLangevin(DenoiserSampler):
    """Annealed Langevin dynamics (Song & Ermon 2019, 2020): `steps` evaluations at each noise level, and one more."""

    name = "annealed-langevin"
    steps: int = Field(5, ge=1, description="Langevin steps at each noise level")
    ratio: float | None = Field(
        0.3, gt=0, lt=1, description="step over sigma^2 (eps / sigma_L^2); none: by Technique 4 of NCSNv2"
    )
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigmas = noise_levels_of(diffusion)
        ratio = self.ratio
        if ratio is None:
            ratio = step_ratio(float(sigmas[0] / sigmas[1]), self.steps)
            ctx.details["ratio"] = ratio
        return annealed_langevin(
            denoise,
            to_variance_exploding(noise, sigmas[0]),
            sigmas,
            steps=self.steps,
            ratio=ratio,
            denoise_last=self.denoise,
            generator=ctx.generator,
        )


class Langevin(DenoiserSampler):
    """Unadjusted Langevin dynamics of one chain for each sample, from a normal start: `steps` evaluations.

    `run` follows any score; `draw` follows that of a denoiser at the least noise level.
    """

    name = "langevin"
    steps: int = Field(1000, ge=1, description="steps of a chain")
    step: float = Field(1e-3, gt=0, description="size of a step, in model space squared")
    start_mean: float = Field(0.0, description="mean of every coordinate at the start")
    start_std: float = Field(1.0, ge=0, description="standard deviation at the start")

    def run(self, score_of: Callable[[Tensor], Tensor], noise: Tensor, generator: torch.Generator) -> Tensor:
        """The ends of chains on a score that start from standard normal `noise` of shape `(n, *shape)`, rescaled."""
        return langevin(score_of, self.start_mean + self.start_std * noise, self.step, self.steps, generator)

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigma = noise_levels_of(diffusion)[-1].to(noise)
        return self.run(partial(score, denoise, sigma=sigma), noise, ctx.generator)


def step_ratio(gamma: float, steps: int) -> float:
    """eps / sigma_L^2 by Technique 4 of Song & Ermon 2020: the variance after the steps is closest to sigma^2.

    `gamma` is the ratio of neighboring noise levels. Among a fine grid of ratios r in (0, 1) it minimizes
    |(1 - r)^(2 steps) (gamma^2 - v) + v - 1|, where v = 2 r / (1 - (1 - r)^2) is the stationary variance (its
    proposition 3).
    """
    r = torch.linspace(1e-4, 0.9999, 9999, dtype=torch.float64)
    stationary = 2 * r / (1 - (1 - r) ** 2)
    distance = ((1 - r) ** (2 * steps) * (gamma**2 - stationary) + stationary - 1).abs()
    return float(r[distance.argmin()])
