"""NCSN (Song & Ermon 2019) and NCSNv2 (Song & Ermon 2020): denoising score matching over finitely many noise levels."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLP_RECIPE, MLPConfig
from ..networks.points import standard_normal, stratified
from .denoiser import NoisePrediction, UnscaledPrediction, noise_residual, score
from .langevin_samplers import AnnealedLangevin, Langevin
from .model import VALIDATION_DRAWS, draw_samples, repeated
from .schedules import DiscreteVarianceExploding


class UnconditionalScore(UnscaledPrediction):
    """D(x, sigma) = x + sigma r(x), whose score is r(x)/sigma: the network r does not see the noise level.

    Its noise label is always 0. Source: Song & Ermon 2020, Technique 3.
    """

    def label(self, sigma: Tensor) -> Tensor:
        return torch.zeros_like(sigma)


def count_noise_levels(d: int, sigma_min: float, sigma_max: float) -> int | None:
    """The number of noise levels by Technique 2 of Song & Ermon 2020, or None for d <= 4, where it has no solution.

    The ratio gamma of neighboring noise levels solves
    Phi(sqrt(2 d)(gamma - 1) + 3 gamma) - Phi(sqrt(2 d)(gamma - 1) - 3 gamma) = .5.
    The first term is 1 to within 1e-9, so that gamma = sqrt(2 d) / (sqrt(2 d) - 3).
    """
    root = math.sqrt(2 * d)
    if root <= 3:
        return None
    return max(2, round(math.log(sigma_max / sigma_min) / math.log(root / (root - 3))) + 1)


class NcsnOptions(trilemma.Config):
    """Options of the noise levels and of the techniques of NCSNv2.

    Technique 4 is an option of the sampler. Technique 5, the average of the weights, is an option of the recipe
    (`ema`).
    """

    noise_levels: int = Field(30, ge=2, description="number of noise levels, unless Technique 2 sets it")
    sigma_min: float = Field(0.02, gt=0, description="lowest noise level")
    sigma_max: float = Field(4.0, gt=0, description="largest noise level, unless Technique 1 sets it")
    largest_distance: bool = Field(
        False, description="Technique 1: the largest noise level is the largest distance between training points"
    )
    overlap: bool = Field(False, description="Technique 2: set the ratio of noise levels by the overlap of neighbors")
    unconditional: bool = Field(
        False, description="Technique 3: the score is r(x)/sigma, where the network r does not see sigma"
    )


class Ncsn(trilemma.NeuralModel):
    """Noise-conditional score network with annealed Langevin sampling (Song & Ermon 2019), with an MLP on vectors.

    The largest noise level may depend on the training points. It is stored in a buffer, which defines the diffusion.
    """

    name = "ncsn"
    family = "diffusion"
    samplers = (AnnealedLangevin, Langevin)
    recipe = MLP_RECIPE
    validation_draws: ClassVar[int] = VALIDATION_DRAWS
    expected_failures = {"score": "the score is not learned beyond the largest noise level of training"}
    largest: Tensor

    class Config(NcsnOptions, MLPConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.dim = info.dim
        self.register_buffer("largest", torch.tensor(config.sigma_max))
        if config.unconditional:
            self.denoiser: nn.Module = UnconditionalScore(config.network(info))
        else:
            self.denoiser = NoisePrediction(config.network(info))

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Set the largest noise level by Technique 1, if it is used."""
        if self.config.largest_distance:
            self.largest.fill_(largest_distance(train.x.flatten(1)))

    @property
    def diffusion(self) -> DiscreteVarianceExploding:
        """The noise levels."""
        config, largest = self.config, float(self.largest)
        count = count_noise_levels(self.dim, config.sigma_min, largest) if config.overlap else None
        return DiscreteVarianceExploding(config.sigma_min, largest, count or config.noise_levels)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """.5 E|sigma s(x + sigma z, sigma) + z|^2 per coordinate, at a uniformly drawn noise level.

        Source: Song & Ermon 2019, eq. 6 with lambda = sigma^2.
        """
        sigmas = self.diffusion.noise_levels().to(x)
        index = (stratified(len(x), ctx.generator) * len(sigmas)).long()
        residual = noise_residual(self.denoiser, x, standard_normal(x, ctx.generator), sigmas[index])
        return 0.5 * residual.mean() / ctx.info.dim

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.loss(repeated(x, self.validation_draws), ctx)

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return draw_samples(self.denoiser, self.diffusion, n, ctx)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)


class NcsnV2Options(NcsnOptions):
    """Options of the noise levels and of the techniques of NCSNv2, which are all used."""

    largest_distance: bool = Field(
        True, description="Technique 1: the largest noise level is the largest distance between training points"
    )
    overlap: bool = Field(True, description="Technique 2: set the ratio of noise levels by the overlap of neighbors")
    unconditional: bool = Field(
        True, description="Technique 3: the score is r(x)/sigma, where the network r does not see sigma"
    )


class NcsnV2(Ncsn):
    """NCSNv2 (Song & Ermon 2020): NCSN with improved techniques, each of which can be switched off."""

    name = "ncsnv2"
    family = "diffusion"

    class Config(NcsnV2Options, MLPConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""


def largest_distance(x: Tensor) -> float:
    """The largest distance between points `(n, d)`, searched among the 2,000 that are farthest from the mean."""
    radius = (x - x.mean(0)).norm(dim=1)
    far = x[radius.topk(min(2_000, len(x))).indices]
    return float(torch.cdist(far, far).max())
