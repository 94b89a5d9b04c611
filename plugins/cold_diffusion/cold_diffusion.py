"""Cold diffusion (Bansal et al. 2023): the base of its models, one for each degradation.

For a degradation of your own, subclass `ColdDiffusion`, give it a `name` and a docstring, and return a `Degradation`
from `make_degradation`. Its Config chooses the network: `VectorConfig`, with the recipe `MLP_RECIPE`, or `ImageConfig`,
with `UNET_RECIPE` and `accepts = ("image",)`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import ROWS, stratified
from ..networks.unet import UNetConfig
from .end_state import EndState, EndStateConfig, PriorAlone
from .restoration import AnchoredRestorer, ColdSampler, Degradation, Naive, ResidualRestorer, Restorer, Tacos


class VectorConfig(MLPConfig, EndStateConfig):
    """An MLP on vectors, and the fully degraded state."""

    octaves: int = Field(4, ge=0, description="octaves of Fourier features of the point")

    def restorer(self, info: trilemma.DataInfo) -> Restorer:
        """A restorer trained on the squared error."""
        return AnchoredRestorer(self.network(info))


class ImageConfig(UNetConfig, EndStateConfig):
    """A U-Net on images, and the fully degraded state."""

    def restorer(self, info: trilemma.DataInfo) -> Restorer:
        """A restorer trained on the absolute error."""
        return ResidualRestorer(self.network(info))


class ColdDiffusion(trilemma.NeuralModel):
    """A restorer trained to undo a degradation, and the distribution of the fully degraded state."""

    family = "restoration"
    samplers = (Tacos, Naive, PriorAlone)
    always_samplers: ClassVar[tuple[trilemma.Sampler, ...]] = (PriorAlone(), PriorAlone(restore="linear"))

    @abstractmethod
    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        """The degradation for a data shape."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.degradation = self.make_degradation(info)
        self.restorer: Restorer = self.config.restorer(info)
        self.end_state = EndState(info.shape, self.config)
        self.support = info.support

    def networks(self) -> Iterable[nn.Module]:
        return (self.restorer,)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Fit the degradation and the fully degraded state."""
        self.degradation.fit(train.x, ctx.generator)
        degraded = self.degraded(train.x, torch.ones(()), ctx.generator)
        self.end_state.fit(degraded, train.x, ctx.generator)

    def degraded(self, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """D(x, t) with partners drawn at random."""
        value: Tensor = self.degradation(x, t.to(x), self.degradation.partner(x, generator))
        return value

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The mean error of R(D(x, t), t) at even severities t (Bansal et al. 2023, eq. 2)."""
        t = stratified(len(x), ctx.generator)
        return self.restorer.error(self.degraded(x, t, ctx.generator), t, x)

    def restore(self, x: Tensor, t: Tensor) -> Tensor:
        """R(x, t), for images kept within their range: else Algorithm 1 amplifies its own errors without end."""
        estimate: Tensor = self.restorer(x, t)
        return estimate if self.support is None else estimate.clamp(*self.support)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        sampler, ends = ctx.sampler, self.degradation.end(n, ctx.generator)
        if ends is None:
            ends = self.end_state.sample(n, ctx.generator)
        if isinstance(sampler, PriorAlone):
            return self.end_state.alone(ends, sampler)
        assert isinstance(sampler, ColdSampler)
        return torch.cat([sampler.draw(self.restore, self.degradation, part) for part in torch.split(ends, ROWS)])
