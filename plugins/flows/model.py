"""The base class of flow models, with the training objectives, and options that flows share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import trilemma

from ..networks.mlp import PLENTY
from ..networks.points import rademacher
from .base import Base, NormalMixture, StandardNormal
from .conditioners import Conditioner
from .flow import DensityEstimator

START_NUMBERS = 8192
"""Data-dependent initialization uses training points with about this many coordinates in total, at least 512 points."""


class FlowConfig(trilemma.Config):
    """Options that every flow has."""

    objective: Literal["likelihood", "reverse-kl", "regularized"] = Field(
        "likelihood",
        description="likelihood: E_data[-log q]; reverse-kl: E_q[log q - log p], which needs a dataset with a known "
        "density; regularized: the first plus `regularizer_weight` times a KL divergence, for few data",
    )
    regularizer: Literal["truth", "prior", "jacobian"] = Field(
        "truth",
        description="KL divergence of the regularized objective. truth: KL(q || p), which needs a known density p "
        "(Noe et al. 2019); prior: KL(N(0, I) || q), as if points of N(0, I) were added to the standardized data; "
        "jacobian: KL(N(0, I) || N(0, (J'J)^-1)) with the Jacobian J of the flow at each point (Song et al. 2024)",
    )
    regularizer_weight: float = Field(0.1, gt=0, description="weight of the regularizer in the regularized objective")
    base_components: int = Field(
        1,
        ge=1,
        description="components of the base distribution: 1 is N(0, I), more are a learned mixture of Gaussians",
    )
    compile: bool = Field(
        False,
        description="whether to train with torch.compile, which needs a C++ compiler; the first step takes tens of "
        "seconds of the budget, so that this is worth it only for long budgets",
    )

    def trains_on_truth(self) -> bool:
        """Whether the objective has the true density, at samples of the flow."""
        return self.objective == "reverse-kl" or (self.objective == "regularized" and self.regularizer == "truth")

    @model_validator(mode="after")
    def _reverse_kl_is_differentiable(self) -> FlowConfig:
        if self.trains_on_truth() and self.base_components > 1:
            raise ValueError(
                "the reverse KL has no gradient for the weights of a mixture: set base_components to 1, or objective "
                "to likelihood"
            )
        return self


class ConditionedConfig(FlowConfig):
    """Options of a flow whose layers get their parameters from conditioners."""

    octaves: int = Field(2, ge=0, description="number of octaves in the Fourier features of the conditioner inputs")
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="dropout rate in the conditioners; default: 0.4 with fewer than "
        f"{PLENTY} training points per coordinate, else 0",
    )


class LayersOptions(trilemma.Config):
    """Options of a flow whose number of layers does not depend on the dimension."""

    transforms: int = Field(8, ge=1, description="number of layers")
    hidden: tuple[int, ...] = Field(
        (64, 64),
        description="widths of the conditioners' hidden layers",
        json_schema_extra={"tune": "[64, 64]|[128, 128]|[128, 128, 128]|[256, 256, 256]"},
    )


class AffineOptions(trilemma.Config):
    """Options of a flow of affine layers."""

    bound: float = Field(3.0, gt=0, description="largest absolute log-scale of one layer")


RECIPE = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)
"""The training recipe of most flows on vectors."""


class FlowModel(trilemma.NeuralModel):
    """The base class of normalizing flows as models. Subclasses define `make`, which makes the flow.

    The weights that are kept are always chosen by the likelihood of the validation data, also for the objectives that
    train with the density of the true distribution.
    """

    family = "flow"
    likelihood = "exact"
    image_space = "logit"

    class Config(FlowConfig):
        """Options that every flow has."""

    def __init__(self, config: trilemma.Config | None = None) -> None:
        super().__init__(config)
        self.needs_truth = self.config.trains_on_truth()

    @abstractmethod
    def make(self, info: trilemma.DataInfo) -> DensityEstimator:
        """The flow for data of this shape."""

    def base(self, info: trilemma.DataInfo) -> Base:
        """The base distribution that the configuration names."""
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
        weight: float = self.config.regularizer_weight
        return self.negative_log_likelihood(x) + weight * self.regularizer(x, ctx)

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """E_data[-log q(x)]."""
        values: Tensor = self._log_prob(x)
        return -values.mean()

    def regularizer(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The KL divergence that the regularized objective adds, for a minibatch `x` (up to a constant)."""
        kind = self.config.regularizer
        if kind == "jacobian":
            return jacobian_kl(self.flow, x, ctx.generator).mean()
        if kind == "truth":
            return self.reverse_kl(len(x), ctx)
        prior = StandardNormal(tuple(x.shape[1:]))
        points = prior.sample(len(x), ctx.generator)
        return (prior.log_prob(points) - self.flow.log_prob(points)).mean()

    def reverse_kl(self, n: int, ctx: trilemma.Context) -> Tensor:
        """E_q[log q(x) - log p(x)] up to a constant, from `n` samples of the flow (Rezende & Mohamed 2015, eq. 15)."""
        if ctx.truth is None:
            raise trilemma.UnsupportedError(
                "KL(q || p) needs a dataset with a known density: use the objective 'likelihood', or the regularizer "
                "'prior' or 'jacobian', for this dataset"
            )
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


def jacobian_kl(flow: nn.Module, x: Tensor, generator: torch.Generator, step: float = 1e-2) -> Tensor:
    """An unbiased estimate of KL(N(0, I) || N(0, (J'J)^-1)) at each point, `(n,)`, with the Jacobian J of `flow` there.

    It is (|J|^2 - d) / 2 - log|det J| with the Frobenius norm, and it vanishes where the flow is a rotation. For a
    linear flow it equals the loss on further training points whose covariance is the identity, up to a constant
    (Song et al. 2024). |J|^2 is the mean of |Jv|^2 over random signs v. Jv is a central difference over `step`, because
    fused layers have first derivatives only. Dropout and batch statistics are off.
    """
    n, training = len(x), flow.training
    v = rademacher(tuple(x.shape), x, generator)
    flow.eval()
    moved: tuple[Tensor, Tensor] = flow(torch.cat([x + step * v, x - step * v]))
    flow.train(training)
    z, logdet = moved
    product = (z[:n] - z[n:]).flatten(1) / (2 * step)
    return 0.5 * (product.square().sum(1) - x[0].numel()) - (logdet[:n] + logdet[n:]) / 2


def starting_points(train: trilemma.Split) -> Tensor:
    """The training points that data-dependent initialization uses."""
    return train.x[: max(512, START_NUMBERS // train.x[0].numel())]
