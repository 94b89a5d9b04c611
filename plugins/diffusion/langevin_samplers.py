"""Langevin dynamics at the noise levels of a model that is trained at finitely many, with its options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

import trilemma

from .denoiser import Denoiser, DenoiserSampler, score, to_variance_exploding
from .langevin import annealed_langevin, langevin
from .schedules import Diffusion, DiscreteDiffusion


def noise_levels_of(diffusion: Diffusion) -> Tensor:
    """The noise levels of a discrete diffusion, in falling order."""
    assert isinstance(diffusion, DiscreteDiffusion)
    return diffusion.noise_levels()


class Start(trilemma.Config):
    """Options of where the chains of a Langevin sampler start."""

    shows_chain: ClassVar[bool] = True
    start: Literal["normal", "uniform"] = Field(
        "normal", description="distribution of the first points: normal in model space, or uniform in a cube"
    )
    start_low: float = Field(
        -8.0, description="least coordinate of a uniform start, in data units; images have intensities from 0 to 1"
    )
    start_high: float = Field(8.0, description="largest coordinate of a uniform start, in data units")

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.start_low >= self.start_high:
            raise ValueError("start_low must be below start_high")
        return self

    def first(self, noise: Tensor, normal: Tensor, ctx: trilemma.Context) -> Tensor:
        """The first points of the chains: `normal`, or uniform ones from the standard normal `noise` (n, *shape)."""
        x = normal
        if self.start == "uniform":
            shares = torch.special.ndtr(noise.double())
            x = ctx.info.to_model(self.start_low + (self.start_high - self.start_low) * shares).to(noise)
        ctx.show(0, x)
        return x


class Annealing(Start):
    """Options of annealed Langevin dynamics."""

    steps: int = Field(100, ge=1, description="number of Langevin steps at each noise level")
    ratio: float | None = Field(
        0.1, gt=0, lt=1, description="step size divided by sigma^2; none: chosen by Technique 4 of NCSNv2"
    )
    denoise: bool = Field(False, description="whether a last step removes the remaining noise (one more evaluation)")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        """Turn standard normal `noise` of shape `(n, *shape)` into samples."""
        sigmas = noise_levels_of(diffusion)
        ratio = self.ratio
        if ratio is None:
            ratio = step_ratio(float(sigmas[0] / sigmas[1]), self.steps)
            ctx.details["ratio"] = ratio
        return annealed_langevin(
            denoise,
            self.first(noise, to_variance_exploding(noise, sigmas[0]), ctx),
            sigmas,
            steps=self.steps,
            ratio=ratio,
            denoise_last=self.denoise,
            generator=ctx.generator,
            show=ctx.show,
        )


class AnnealedLangevin(Annealing, DenoiserSampler):
    """Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1), with `steps` evaluations at each noise level.

    The defaults are those of section 5 of the paper: T = 100 steps and eps = 2e-5 at sigma_L = .01, which is a step
    size of .1 sigma^2, and no last step that denoises. The published code takes twice this step size. Deviation from
    the paper: a normal start has the variance of standardized data at the largest noise level, because vectors have no
    range to draw from. The paper starts uniformly in the range of pixels (`start`).
    """

    name = "annealed-langevin"


class ImprovedAnnealedLangevin(Annealing, DenoiserSampler):
    """Annealed Langevin dynamics of NCSNv2 (Song & Ermon 2020, algorithm 1), with `steps` evaluations at each level.

    The defaults are those of the paper: T = 5 steps, a step size by Technique 4, and a last step that denoises.
    Deviation from the paper: the start, as in the sampler of NCSN.
    """

    name = "annealed-langevin"
    steps: int = Field(5, ge=1, description="number of Langevin steps at each noise level")
    ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="step size divided by sigma^2 (eps / sigma_L^2); none: chosen by Technique 4 of NCSNv2",
    )
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")


class ShortAnnealedLangevin(Annealing, DenoiserSampler):
    """Annealed Langevin dynamics with few steps of a fixed size, and a last one that denoises.

    The step size is larger than those of the papers. It is for noise levels that lie close, in few dimensions.
    """

    name = "annealed-langevin"
    steps: int = Field(5, ge=1, description="number of Langevin steps at each noise level")
    ratio: float | None = Field(
        0.3, gt=0, lt=1, description="step size divided by sigma^2; none: chosen by Technique 4 of NCSNv2"
    )
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")


class Langevin(Start, DenoiserSampler):
    """Unadjusted Langevin dynamics, with one chain for each sample and `steps` evaluations.

    `run` and `follow` follow any score. `draw` follows the score of a denoiser at the lowest noise level.
    """

    name = "langevin"
    steps: int = Field(1000, ge=1, description="number of steps of a chain")
    step: float = Field(1e-3, gt=0, description="step size, in squared units of model space")
    start_mean: float = Field(0.0, description="mean of every coordinate at a normal start, in model space")
    start_std: float = Field(
        1.0, ge=0, description="standard deviation of every coordinate at a normal start, in model space"
    )

    def follow(self, score_of: Callable[[Tensor], Tensor], noise: Tensor, ctx: trilemma.Context) -> Tensor:
        """`run` for a model without a denoiser. Raises UnsupportedError for a setting with autoguidance."""
        if self.guidance > 0:
            raise trilemma.UnsupportedError("the model keeps no weights early in training to guide it")
        return self.run(score_of, noise, ctx)

    def run(self, score_of: Callable[[Tensor], Tensor], noise: Tensor, ctx: trilemma.Context) -> Tensor:
        """The end points `(n, *shape)` of chains that follow a score.

        `noise` is standard normal, of shape `(n, *shape)`. The start is made from it.
        """
        x = self.first(noise, self.start_mean + self.start_std * noise, ctx)
        return langevin(score_of, x, self.step, self.steps, ctx.generator, show=ctx.show)

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        sigma = noise_levels_of(diffusion)[-1].to(noise)
        return self.run(partial(score, denoise, sigma=sigma), noise, ctx)


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
