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
from .autoguidance import Guided
from .denoiser import NoisePrediction, UnscaledPrediction, noise_residual, score
from .langevin_samplers import AnnealedLangevin, ImprovedAnnealedLangevin, Langevin, ShortAnnealedLangevin
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

    Technique 4 is an option of the sampler (`ratio`). Technique 5, the average of the weights, is an option of the
    recipe (`ema`).
    """

    noise_levels: int = Field(10, ge=2, description="number of noise levels, unless Technique 2 sets it")
    sigma_min: float = Field(0.04, gt=0, description="lowest noise level")
    sigma_max: float = Field(4.0, gt=0, description="largest noise level, unless Technique 1 sets it")
    largest_distance: bool = Field(
        False, description="Technique 1: the largest noise level is the largest distance between training points"
    )
    overlap: bool = Field(False, description="Technique 2: set the ratio of noise levels by the overlap of neighbors")
    unconditional: bool = Field(
        False, description="Technique 3: the score is r(x)/sigma, where the network r does not see sigma"
    )


class Ncsn(Guided, trilemma.NeuralModel):
    """Noise-conditional score network with annealed Langevin sampling (Song & Ermon 2019), with an MLP on vectors.

    The defaults are those of section 5: L = 10 noise levels in a constant ratio, from sigma_1 to sigma_L = sigma_1/100,
    T = 100 Langevin steps at each, no average of the weights, and no last step that denoises. The paper's sigma_1 = 1
    for pixels in [0, 1] is about 4 standard deviations of natural images, hence 4 for standardized data.

    Deviations from the paper: an MLP with Fourier features in place of a RefineNet; the network predicts the noise, so
    that the score is -F / sigma, and sees x / sqrt(1 + sigma^2) and ln(sigma); the loss is per coordinate, and noise
    levels are drawn in equal shares in each batch; the learning rate falls (the paper's is constant), and the kept
    weights are those with the best validation loss (the paper's those with the best FID); the start of the chains (see
    the sampler). The largest noise level may depend on the training points. It is stored in a buffer, which defines the
    diffusion.
    """

    name = "ncsn"
    family = "diffusion"
    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (AnnealedLangevin, Langevin)
    recipe = MLP_RECIPE.model_copy(update={"ema": None})
    validation_draws: ClassVar[int] = VALIDATION_DRAWS
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
        return draw_samples(self, self.diffusion, n, ctx)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)

    def score_levels(self) -> tuple[float, float]:
        """The lowest and the largest noise level of training."""
        return self.diffusion.trained_levels()


class NcsnV2Options(NcsnOptions):
    """Options of the noise levels and of the techniques of NCSNv2, which are all used."""

    noise_levels: int = Field(30, ge=2, description="number of noise levels, unless Technique 2 sets it")
    sigma_min: float = Field(0.04, gt=0, description="lowest noise level")
    largest_distance: bool = Field(
        True, description="Technique 1: the largest noise level is the largest distance between training points"
    )
    overlap: bool = Field(True, description="Technique 2: set the ratio of noise levels by the overlap of neighbors")
    unconditional: bool = Field(
        True, description="Technique 3: the score is r(x)/sigma, where the network r does not see sigma"
    )


class NcsnV2(Ncsn):
    """NCSNv2 (Song & Ermon 2020): NCSN with five improved techniques, each of which can be switched off.

    Techniques 1 to 3 are options of the model, Technique 4 is `ratio = "none"` of the sampler, and Technique 5 is `ema`
    of the recipe, with the paper's decay .999. The lowest noise level, .01 for pixels in [0, 1], is .04 for
    standardized data. Deviations from the paper: in four or fewer dimensions Technique 2 has no solution, and
    `noise_levels` sets their number; its equation is solved exactly, while the published numbers of noise levels are
    slightly larger; the largest distance (Technique 1) is that among the 2,000 points farthest from the mean; and those
    of NCSN, but for the parametrization of the score, which is the paper's (Technique 3)
    around an MLP.
    """

    name = "ncsnv2"
    family = "diffusion"
    samplers = (ImprovedAnnealedLangevin, Langevin)
    recipe = MLP_RECIPE.model_copy(update={"ema": 0.999})

    class Config(NcsnV2Options, MLPConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""


class NcsnShort(Ncsn):
    """NCSN with 30 noise levels and 5 Langevin steps at each, for few dimensions: 151 evaluations in place of 1,000.

    It is no model of a paper. It differs from `ncsn` by more and lower noise levels, by averaged weights, by a step
    size of .3 sigma^2, and by a last step that denoises.
    """

    name = "ncsn-short"
    family = "diffusion"
    samplers = (ShortAnnealedLangevin, Langevin)
    recipe = MLP_RECIPE

    class Config(NcsnOptions, MLPConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""

        noise_levels: int = Field(30, ge=2, description="number of noise levels, unless Technique 2 sets it")
        sigma_min: float = Field(0.02, gt=0, description="lowest noise level")


def largest_distance(x: Tensor) -> float:
    """The largest distance between points `(n, d)`, searched among the 2,000 that are farthest from the mean."""
    radius = (x - x.mean(0)).norm(dim=1)
    far = x[radius.topk(min(2_000, len(x))).indices]
    return float(torch.cdist(far, far).max())
