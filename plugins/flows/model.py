"""What all flows share as models: the training objectives, sampling, densities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import trilemma

from ..networks.mlp import PLENTY
from .base import Base, NormalMixture, StandardNormal
from .conditioners import Conditioner
from .flow import DensityEstimator

START_NUMBERS = 8192
"""Data-dependent starts look at training points with this many coordinates in all, and at 512 points at least."""


class FlowConfig(trilemma.Config):
    """Options that every flow has."""

    objective: Literal["likelihood", "reverse-kl", "regularized"] = Field(
        "likelihood",
        description="likelihood: E_data[-log q]; reverse-kl: E_q[log q - log p], needs a dataset of known density; "
        "regularized: the first plus `reverse_kl_weight` times the second",
    )
    reverse_kl_weight: float = Field(0.1, gt=0, description="weight of the reverse KL in the regularized objective")
    base_components: int = Field(
        1, ge=1, description="components of the base distribution: 1 is N(0, I), more a learned mixture of Gaussians"
    )
    compile: bool = Field(
        False,
        description="train with torch.compile, which needs a C++ compiler: the first step costs tens of seconds of the "
        "budget, so that it pays for long budgets only",
    )

    @model_validator(mode="after")
    def _reverse_kl_is_differentiable(self) -> FlowConfig:
        if self.objective != "likelihood" and self.base_components > 1:
            raise ValueError("the reverse KL has no gradient for the weights of a mixture: base_components must be 1")
        return self


class ConditionedConfig(FlowConfig):
    """Options of a flow whose layers are steered by conditioners."""

    octaves: int = Field(2, ge=0, description="octaves of Fourier features that a conditioner sees of each coordinate")
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description=f"dropout in the conditioners; default: 0.4 below {PLENTY} training points per coordinate, else 0",
    )


class LayersOptions(trilemma.Config):
    """Options of a flow that has as many layers for any dimension."""

    transforms: int = Field(8, ge=1, description="layers")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the conditioners' hidden layers")


class AffineOptions(trilemma.Config):
    """Options of a flow of affine layers."""

    bound: float = Field(3.0, gt=0, description="largest absolute log-scale of one layer")


RECIPE = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)
"""The training recipe of most flows on vectors."""


class FlowModel(trilemma.NeuralModel):
    """A normalizing flow as a model: subclasses make the flow.

    With the objectives that need the distribution, weights are still kept by their likelihood of the validation data.
    """

    family = "flow"
    likelihood = "exact"
    image_space = "logit"

    class Config(FlowConfig):
        """Options that every flow has."""

    def __init__(self, config: trilemma.Config | None = None) -> None:
        super().__init__(config)
        self.needs_truth = self.config.objective != "likelihood"

    @abstractmethod
    def make(self, info: trilemma.DataInfo) -> DensityEstimator:
        """The flow for a data shape."""

    def base(self, info: trilemma.DataInfo) -> Base:
        """The base distribution that the configuration asks for."""
        components: int = self.config.base_components
        return StandardNormal(info.shape) if components == 1 else NormalMixture(info.dim, components)

    def build(self, info: trilemma.DataInfo) -> None:
        self.flow = self.make(info)
        self._log_prob = (
            torch.compile(self.flow.log_prob, fullgraph=True) if self.config.compile else self.flow.log_prob
        )

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        self.flow.initialize(starting_points(train))

    def networks(self) -> Iterable[nn.Module]:
        return [module for module in self.modules() if isinstance(module, Conditioner)]

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        objective = self.config.objective
        if objective == "likelihood":
            return self.negative_log_likelihood(x)
        if objective == "reverse-kl":
            return self.reverse_kl(len(x), ctx)
        weight: float = self.config.reverse_kl_weight
        return self.negative_log_likelihood(x) + weight * self.reverse_kl(len(x), ctx)

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """E_data[-log q(x)]."""
        values: Tensor = self._log_prob(x)
        return -values.mean()

    def reverse_kl(self, n: int, ctx: trilemma.Context) -> Tensor:
        """E_q[log q(x) - log p(x)] up to a constant, by `n` draws of the flow (Rezende & Mohamed 2015, eq. 15)."""
        if ctx.truth is None:
            raise trilemma.UnsupportedError("the reverse KL needs a dataset with a known density")
        x, log_q = self.flow.sample(n, ctx.generator)
        log_p = ctx.truth.log_prob(x.cpu()).to(x)
        return (log_q - log_p).mean()

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return -self.flow.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        return self.flow.sample(n, ctx.generator)[0]

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.flow.log_prob(x)


def starting_points(train: trilemma.Split) -> Tensor:
    """The training points that data-dependent starts are made from."""
    return train.x[: max(512, START_NUMBERS // train.x[0].numel())]
