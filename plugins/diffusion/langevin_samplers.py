"""Langevin dynamics, and samplers for models that are trained at finitely many noise levels, with their options."""

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
    """The noise levels of a discrete diffusion, in falling order."""
    assert isinstance(diffusion, DiscreteDiffusion)
    return diffusion.noise_levels()


def strided(sigmas: Tensor, steps: int) -> Tensor:
    """`steps` evenly spaced noise levels, from the first to the last; all if there are no more than `steps`."""
    if steps >= len(sigmas):
        return sigmas
    return sigmas[torch.linspace(0, len(sigmas) - 1, steps).round().long()]


class StridedAncestral(DenoiserSampler):
    """Ancestral sampling (Ho et al. 2020) over evenly spaced noise levels of training, with `steps` evaluations.

    The mean of a step is the mean of the posterior q(x_s | x_t, x_0) at the estimated x_0 (eq. 7).
    """

    name = "ancestral"
    steps: int = Field(100, ge=1, description="number of noise levels used, at most the number in training")
    variance: Literal["small", "large"] = Field(
        "small",
        description="variance of a step: small is the variance of the posterior, large that of the forward step",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigmas = strided(noise_levels_of(diffusion), self.steps)
        return ddim(denoise, noise, sigmas, 1.0, ctx.generator, large=self.variance == "large")


class StridedDdim(DenoiserSampler):
    """DDIM (Song, Meng & Ermon 2021) over evenly spaced noise levels of training, with `steps` evaluations."""

    name = "ddim"
    steps: int = Field(20, ge=1, description="number of noise levels used, at most the number in training")
    eta: float = Field(
        0.0,
        ge=0,
        le=1,
        description="noise of a step, as a share of the noise of ancestral sampling: 0 is deterministic",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, strided(noise_levels_of(diffusion), self.steps), self.eta, ctx.generator)


class AnnealedLangevin(DenoiserSampler):
    """Annealed Langevin dynamics (Song & Ermon 2019, 2020), with `steps` evaluations at each noise level.

    The last step, which denoises, takes one more evaluation.
    """

    name = "annealed-langevin"
    steps: int = Field(5, ge=1, description="number of Langevin steps at each noise level")
    ratio: float | None = Field(
        0.3,
        gt=0,
        lt=1,
        description="step size divided by sigma^2 (eps / sigma_L^2); none: chosen by Technique 4 of NCSNv2",
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
    """Unadjusted Langevin dynamics, with one chain for each sample and `steps` evaluations, from a normal start.

    `run` follows any score. `draw` follows the score of a denoiser at the lowest noise level.
    """

    name = "langevin"
    steps: int = Field(1000, ge=1, description="number of steps of a chain")
    step: float = Field(1e-3, gt=0, description="step size, in squared units of model space")
    start_mean: float = Field(0.0, description="mean of every coordinate at the start")
    start_std: float = Field(1.0, ge=0, description="standard deviation of every coordinate at the start")

    def run(self, score_of: Callable[[Tensor], Tensor], noise: Tensor, generator: torch.Generator) -> Tensor:
        """The end points `(n, *shape)` of chains that follow a score, from start_mean + start_std `noise`.

        `noise` is standard normal, of shape `(n, *shape)`.
        """
        return langevin(score_of, self.start_mean + self.start_std * noise, self.step, self.steps, generator)

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigma = noise_levels_of(diffusion)[-1].to(noise)
        return self.run(partial(score, denoise, sigma=sigma), noise, ctx.generator)


def step_ratio(gamma: float, steps: int) -> float:
    """eps / sigma_L^2 by Technique 4 of Song & Ermon 2020: the variance after the steps is closest to sigma^2.

    `gamma` is the ratio of neighboring noise levels. The result is the r in a fine grid over (0, 1) that minimizes
    |(1 - r)^(2 steps) (gamma^2 - v) + v - 1|, where v = 2 r / (1 - (1 - r)^2) is the stationary variance
    (proposition 3).
    """
    r = torch.linspace(1e-4, 0.9999, 9999, dtype=torch.float64)
    stationary = 2 * r / (1 - (1 - r) ** 2)
    distance = ((1 - r) ** (2 * steps) * (gamma**2 - stationary) + stationary - 1).abs()
    return float(r[distance.argmin()])
