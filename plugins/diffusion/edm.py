"""EDM (Karras et al. 2022) on vectors and on images: the loss with its weighting, and the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import trilemma

from ..networks.mlp import PLENTY, MLPConfig, scarce
from ..networks.points import per_point, stable_target, standard_normal, stratified
from ..networks.unet import UNetConfig
from .autoguidance import Guided
from .denoiser import (
    DataPrediction,
    Denoiser,
    Mixed,
    NoisePrediction,
    Parametrized,
    Preconditioned,
    UnscaledPrediction,
    VelocityPrediction,
    scaled_error,
)
from .level_head import LevelDenoiser
from .likelihood import OdeDensity
from .model import Denoising, OdeDensityOnImages
from .ode_samplers import ODE_SAMPLERS, StochasticHeun
from .schedules import VarianceExploding, VariancePreserving

PRECONDITIONINGS: dict[str, type[Parametrized]] = {
    "edm": Preconditioned,
    "vp": NoisePrediction,
    "ve": UnscaledPrediction,
    "flow": VelocityPrediction,
}
"""The class of the denoiser, by the method whose network and scaling it has."""

PREDICTIONS: dict[str, type[Parametrized]] = {
    "mixed": Preconditioned,
    "noise": NoisePrediction,
    "velocity": VelocityPrediction,
    "data": DataPrediction,
}
"""The class of a denoiser, by what its network predicts."""

Weight = Literal["edm", "vp", "flow"]
"""The weight of the noise levels in the loss, by the method that uses it."""


def noise_quantiles(share: Tensor, options: EdmOptions) -> Tensor:
    """The quantiles of the noise level in training, for shares from 0 to 1, float64.

    Source: Karras et al. 2022, table 1, "noise distribution". `flow` has s = 1/(1 + sigma) uniform, as in flow matching
    (Lipman et al. 2023). Normal deviates end at 4.75.
    """
    if options.training_noise == "edm":
        deviate = torch.special.ndtri(share.clamp(1e-6, 1 - 1e-6))
        sigma: Tensor = (options.log_sigma_mean + options.log_sigma_std * deviate).exp()
        return sigma
    if options.training_noise == "vp":
        return VariancePreserving().sigma(1e-5 + (1 - 1e-5) * share)
    if options.training_noise == "ve":
        return VarianceExploding(options.sigma_min, options.sigma_max).sigma(share)
    return 1 / (1 - 1e-3 - (1 - 2e-3) * share) - 1


def training_noise(n: int, options: EdmOptions, generator: torch.Generator) -> Tensor:
    """The noise levels of a batch of `n` points, `(n,)`, float64: one in each of n equal parts of the distribution."""
    return noise_quantiles(stratified(n, generator).double(), options)


def edm_loss(
    denoise: Denoiser, x: Tensor, sigma: Tensor, weight: Weight, generator: torch.Generator, *, stable: bool = False
) -> Tensor:
    """E[lambda(sigma) |D(x + sigma z) - x|^2] at noise levels `(n,)`, a mean over points and coordinates.

    The weights are lambda = (1 + sigma^2)/sigma^2 (`edm`), 1/sigma^2 (`vp`, also for VE) and (1 + sigma)^2/sigma^2
    (`flow`). With the weight and the network of `edm` the loss is the same at every noise level when training starts
    (Karras et al. 2022, section 5 and table 1 with sigma_data = 1). With `stable` the target is the `stable_target`
    instead of x.
    """
    sigma = sigma.to(x)
    s = per_point(sigma, x)
    noise = standard_normal(x, generator)
    error = scaled_error(denoise, x, noise, sigma)
    if stable:
        error = error + (x - stable_target(x, x + s * noise, sigma)) / s
    scale = {"edm": 1 + s**2, "vp": torch.ones_like(s), "flow": (1 + s) ** 2}[weight]
    return (scale * error**2).mean()


@dataclass(frozen=True)
class EdmDiffusion(VarianceExploding):
    """The diffusion of EDM, whose largest noise level in training is not the one at which sampling starts."""

    trained: float = 0.0

    def trained_levels(self) -> tuple[float, float]:
        return self.lowest, self.trained


class EdmOptions(trilemma.Config):
    """The ingredients of EDM, each of which can be replaced by that of another method, and the noise levels.

    The choices are the columns VP, VE and EDM of table 1 of Karras et al. 2022, and flow matching.
    """

    preconditioning: Literal["edm", "vp", "ve", "flow"] = Field(
        "edm", description="how the denoiser is made from the network; vp: it predicts the noise, flow: the velocity"
    )
    prediction: Literal["mixed", "noise", "velocity", "data"] | None = Field(
        None,
        description="what the network predicts, while it sees its input as `preconditioning` says; mixed: as with edm, "
        "data: the clean point; none: what `preconditioning` says",
    )
    loss_weight: Weight = Field("edm", description="weight of the noise levels in the loss; vp is also that of VE")
    training_noise: Literal["edm", "vp", "ve", "flow"] = Field(
        "edm",
        description="distribution of the noise level in training; edm: log-normal, vp and flow: uniform in their time, "
        "ve: log-uniform from sigma_min to sigma_max",
    )
    log_sigma_mean: float = Field(-0.8, description="mean of ln(sigma) in training, with the noise of edm")
    log_sigma_std: float = Field(
        1.6, gt=0, description="standard deviation of ln(sigma) in training, with the noise of edm"
    )
    sigma_min: float = Field(0.002, gt=0, description="lowest noise level in training, with the noise of ve")
    sigma_max: float = Field(40.0, gt=0, description="noise level at which sampling starts")

    def parametrized(self, network: nn.Module) -> Parametrized:
        """The denoiser around a raw network."""
        seen = PRECONDITIONINGS[self.preconditioning]
        return seen(network) if self.prediction is None else Mixed(network, seen, PREDICTIONS[self.prediction])

    def diffusion(self) -> EdmDiffusion:
        """The diffusion from the lowest noise level in training to the one at which sampling starts."""
        low, high = noise_quantiles(torch.tensor([0.0, 1.0], dtype=torch.float64), self).tolist()
        return EdmDiffusion(low, self.sigma_max, high)


class Edm(OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """EDM (Karras et al. 2022), with an MLP denoiser on vectors and flattened images.

    Preconditioning, loss weight and noise distribution are options, and each can be that of another method. What the
    network predicts can be chosen apart. The default sampler is `heun`, the paper's algorithm 1. Deviations from the
    paper: The network is an MLP. Data is standardized, so that sigma_data = 1. By default ln(sigma) has mean -.8 and
    deviation 1.6 (paper: -1.2 and 1.2), noise levels are stratified over a batch, targets are stable (`stable_targets`)
    and sampling starts at 40 (paper: 80). With the preconditioning of VP and VE the network sees ln(sigma)/4, and not
    999 t and ln(sigma/2). The noise of VE lies between `sigma_min` = .002 and `sigma_max` = 40 (paper: .02 and 100).
    """

    name = "edm"
    samplers = (*ODE_SAMPLERS, StochasticHeun)

    class Config(EdmOptions, MLPConfig):
        """Options of the network, of the ingredients and of the target in training."""

        stable_targets: bool | None = Field(
            None,
            description="whether the target in training is the mean of x_0 given x_t over the batch (Xu et al. 2023), "
            f"not x_0 itself as in the paper; default: yes with at least {PLENTY} training points per coordinate",
        )

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = config.diffusion()
        self.denoiser = config.parametrized(config.network(info))
        chosen: bool | None = config.stable_targets
        self.stable_targets = not scarce(info) if chosen is None else chosen

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        stable = self.stable_targets and self.training
        sigma = training_noise(len(x), self.config, ctx.generator)
        return edm_loss(self.denoiser, x, sigma, self.config.loss_weight, ctx.generator, stable=stable)


class EdmUnet(OdeDensityOnImages, Denoising, Guided, trilemma.NeuralModel):
    """EDM (Karras et al. 2022) with a small convolutional U-Net, on images of 8 to 32 pixels a side.

    With the head `levels` the network gives the probabilities of the intensity levels, and the denoiser is the exact
    posterior mean under these probabilities. The paper's head is `plain`. Further deviations from the paper are those
    of `edm`, with mean -1 and deviation 1.4 of ln(sigma) and no stable targets. There is no augmentation.
    """

    name = "edm-unet"
    samplers = (*ODE_SAMPLERS, StochasticHeun)

    class Config(EdmOptions, UNetConfig):
        """Options of the network and of the ingredients."""

        head: Literal["plain", "levels"] = Field(
            "levels",
            description="what the network gives: plain is the denoised image, levels the probabilities of its "
            "intensity levels, which needs no preconditioning",
        )
        log_sigma_mean: float = Field(-1.0, description="mean of ln(sigma) in training, with the noise of edm")
        log_sigma_std: float = Field(
            1.4, gt=0, description="standard deviation of ln(sigma) in training, with the noise of edm"
        )

        @model_validator(mode="after")
        def _head(self) -> Self:
            if self.head == "levels" and self.prediction is not None:
                raise ValueError(
                    f"prediction {self.prediction!r} needs head 'plain': the head 'levels' gives probabilities"
                )
            if self.head == "levels" and self.preconditioning != "edm":
                raise ValueError(
                    f"preconditioning {self.preconditioning!r} needs head 'plain': the head 'levels' has no "
                    "preconditioning"
                )
            return self

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.diffusion = config.diffusion()
        self.denoiser: nn.Module
        if config.head == "plain":
            self.denoiser = config.parametrized(config.network(info))
        elif info.levels is None or info.support is None:
            raise trilemma.UnsupportedError(f"'{info.name}' has no intensity levels: use the head 'plain'")
        else:
            self.denoiser = LevelDenoiser(config.network(info, info.shape[0] * info.levels), info.levels, info.support)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Set the bias of the intensity levels from their histogram in the training images."""
        if isinstance(self.denoiser, LevelDenoiser):
            self.denoiser.calibrate(train.x)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The preconditioned denoising loss (Karras et al. 2022, eq. 8)."""
        sigma = training_noise(len(x), self.config, ctx.generator)
        return edm_loss(self.denoiser, x, sigma, self.config.loss_weight, ctx.generator)
