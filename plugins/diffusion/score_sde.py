"""Score-based generative modeling through stochastic differential equations (Song et al. 2021).

The denoiser works in variance-exploding coordinates x_t / alpha(t), in which linear diffusions differ only in their
time.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.levels import Levels
from ..networks.mlp import MLPConfig
from ..networks.points import standard_normal, stratified
from .autoguidance import Guided
from .denoiser import PARAMETRIZATIONS, Denoiser, noise_residual
from .likelihood import OdeDensity
from .model import Denoising
from .ode_samplers import ODE_SAMPLERS
from .schedules import Diffusion, SubVariancePreserving, VarianceExploding, VariancePreserving
from .sde_samplers import SDE_SAMPLERS


def draw_times(n: int, diffusion: Diffusion, options: SdeOptions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times of a batch of `n` points and the weights of their losses, each `(n,)`, float64.

    Times are uniform in [eps, 1], or drawn by importance, with a density proportional to g^2 / (alpha sigma)^2 (Song,
    Durkan, Murray & Ermon 2021, section 4.2). Because g^2 = alpha^2 d(sigma^2)/dt for every linear diffusion, ln(sigma)
    is then uniform from ln sigma(eps) to ln sigma(1). One time is drawn in each of n equal parts of the distribution.
    """
    share, eps = stratified(n, generator).double(), options.eps
    ends = torch.tensor([eps, 1.0], dtype=torch.float64, device=share.device)
    low, high = diffusion.sigma(ends).log()
    important = options.times == "importance"
    t = diffusion.time((low + share * (high - low)).exp()) if important else eps + (1 - eps) * share
    # The ratio of the density of importance sampling to the uniform density: its mean over uniform times is 1.
    ratio = likelihood_weight(diffusion, t) * (1 - eps) / (2 * (high - low))
    weight = ratio if options.weighting == "likelihood" else torch.ones_like(t)
    return t, weight / ratio if important else weight


def likelihood_weight(diffusion: Diffusion, t: Tensor) -> Tensor:
    """g^2 / (alpha sigma)^2, the weight g^2 relative to the variance of the perturbation."""
    return diffusion.squared_diffusion(t) / (diffusion.alpha(t) * diffusion.sigma(t)) ** 2


def score_sde_loss(
    denoise: Denoiser, x: Tensor, diffusion: Diffusion, options: SdeOptions, generator: torch.Generator
) -> Tensor:
    """Denoising score matching, a mean over points and coordinates (Song et al. 2021, eq. 7).

    With the weighting `variance`, the weight is the variance of the perturbation. With `likelihood`, it is g^2 (Song,
    Durkan, Murray & Ermon 2021, eq. 7), divided by a constant so that the mean weight of the `noise_residual` is 1 too.
    How times are drawn does not change the expectation.
    """
    t, weight = draw_times(len(x), diffusion, options, generator)
    residual = noise_residual(denoise, x, standard_normal(x, generator), diffusion.sigma(t).float())
    return (weight.to(x) * residual).mean() / x[0].numel()


class SdeOptions(trilemma.Config):
    """Options of the loss of a score SDE, and its diffusion."""

    eps: float = Field(1e-5, gt=0, lt=1, description="smallest time in training and in sampling")
    parametrization: Literal["karras", "noise"] = Field(
        "karras",
        description="what the network predicts: karras is the preconditioned network of EDM; noise is the noise, as in "
        "the paper",
    )
    weighting: Literal["variance", "likelihood"] = Field(
        "variance",
        description="weight of the times in the loss: variance as in the paper, or likelihood for maximum likelihood "
        "(ScoreFlow)",
    )
    times: Literal["uniform", "importance"] = Field(
        "uniform",
        description="how times are drawn in training: uniform as in the paper, or importance, which lowers the "
        "variance of the loss with likelihood weighting (ScoreFlow)",
    )
    centers: bool = Field(
        False,
        description="whether images are trained on without dequantization noise, as centers of their intensity levels; "
        "for a likelihood with truncated-normal dequantization",
    )

    @abstractmethod
    def diffusion(self) -> Diffusion:
        """The diffusion with these options."""


class LinearBeta(trilemma.Config):
    """Options of a diffusion whose beta is linear in time."""

    beta_min: float = Field(0.1, gt=0, description="beta at time 0")
    beta_max: float = Field(20.0, gt=0, description="beta at time 1")


class VpOptions(LinearBeta, SdeOptions):
    """Options of the VP SDE and of its loss."""

    def diffusion(self) -> Diffusion:
        return VariancePreserving(self.beta_min, self.beta_max, eps=self.eps)


class SubVpOptions(LinearBeta, SdeOptions):
    """Options of the sub-VP SDE and of its loss."""

    def diffusion(self) -> Diffusion:
        return SubVariancePreserving(self.beta_min, self.beta_max, eps=self.eps)


class VeOptions(SdeOptions):
    """Options of the VE SDE and of its loss."""

    sigma_min: float = Field(0.002, gt=0, description="noise level at time 0")
    sigma_max: float = Field(50.0, gt=0, description="noise level at time 1")

    def diffusion(self) -> Diffusion:
        return VarianceExploding(self.sigma_min, self.sigma_max, eps=self.eps)


class ScoreSde(OdeDensity, Denoising, Guided):
    """A mixin: the denoiser and the loss that the three SDEs share."""

    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (*ODE_SAMPLERS, *SDE_SAMPLERS)

    def build(self, info: trilemma.DataInfo) -> None:
        """Create the denoiser from the network that the options give."""
        self.diffusion = self.config.diffusion()
        self.denoiser = PARAMETRIZATIONS[self.config.parametrization](self.config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """`score_sde_loss` over the times from `eps` to 1. Raises UnsupportedError for `centers` without levels."""
        if self.config.centers:
            x = Levels.of(ctx.info).centered(x)
        return score_sde_loss(self.denoiser, x, self.diffusion, self.config, ctx.generator)


class VpSde(ScoreSde, trilemma.NeuralModel):
    """Score-based diffusion by the variance-preserving SDE (Song et al. 2021), with an MLP denoiser on vectors.

    The diffusion, the weighting and the smallest time in training are those of the paper. Deviations from it: The
    network is an MLP. Its scaling is that of EDM, unless `parametrization` is `noise` as in the paper: after a short
    training on ring8, the gap to the entropy at validation points was .32 with `karras` and .48 with `noise`. The
    network sees ln(sigma)/4 in place of the time. Times are stratified over a batch.
    """

    name = "vp-sde"

    class Config(VpOptions, MLPConfig):
        """Options of the network, of the loss and of the diffusion."""


class SubVpSde(ScoreSde, trilemma.NeuralModel):
    """Score-based diffusion by the sub-VP SDE (Song et al. 2021), with an MLP denoiser on vectors.

    Deviations from the paper are those of `vp-sde`. Besides, the network gets x_t / (alpha sqrt(1 + sigma^2)), which
    has unit variance at every time, in place of x_t.
    """

    name = "subvp-sde"

    class Config(SubVpOptions, MLPConfig):
        """Options of the network, of the loss and of the diffusion."""


class VeSde(ScoreSde, trilemma.NeuralModel):
    """Score-based diffusion by the variance-exploding SDE (Song et al. 2021), with an MLP denoiser on vectors.

    Deviations from the paper are those of `vp-sde`. Besides, the network gets x_t / sqrt(1 + sigma^2) in place of x_t.
    Noise levels run from .002 to 50 by default, which suits standardized data. The paper has .01 to 50 on CIFAR-10,
    whose intensities lie between 0 and 1.
    """

    name = "ve-sde"

    class Config(VeOptions, MLPConfig):
        """Options of the network, of the loss and of the diffusion."""
