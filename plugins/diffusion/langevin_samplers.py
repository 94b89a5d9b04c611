"""Langevin dynamics at the noise levels of a model that is trained at finitely many, with its options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .denoiser import Denoiser, DenoiserSampler, score, to_variance_exploding
from .langevin import annealed_langevin, langevin
from .schedules import Diffusion, DiscreteDiffusion


def noise_levels_of(diffusion: Diffusion) -> Tensor:
    """The noise levels of a discrete diffusion, in falling order."""
    assert isinstance(diffusion, DiscreteDiffusion)
    return diffusion.noise_levels()


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
