"""The base class of cold diffusion models (Bansal et al. 2023). There is one model for each degradation.

To add a degradation, subclass `ColdDiffusion`, give it a `name` and a docstring, and return a `Degradation` from
`make_degradation`. Its Config chooses the network: use `VectorConfig` with the recipe `MLP_RECIPE` for vectors, and
`ImageConfig` with `UNET_RECIPE` and `accepts = ("image",)` for images.
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
    """Options of an MLP on vectors, and of the fully degraded state."""

    octaves: int = Field(4, ge=0, description="octaves of Fourier features of the point")

    def restorer(self, info: trilemma.DataInfo) -> Restorer:
        """A restorer trained on the squared error."""
        return AnchoredRestorer(self.network(info))


class ImageConfig(UNetConfig, EndStateConfig):
    """Options of a U-Net on images, and of the fully degraded state."""

    def restorer(self, info: trilemma.DataInfo) -> Restorer:
        """A restorer trained on the absolute error."""
        return ResidualRestorer(self.network(info))


class ColdDiffusion(trilemma.NeuralModel):
    """Base class of cold diffusion: a restorer trained to undo a degradation, and the distribution of its end state."""

    expected_failures = {"sampler-options": "the option 'partner' is for degradations with partners alone"}
    family = "restoration"
    samplers = (Tacos, Naive, PriorAlone)
    always_samplers: ClassVar[tuple[trilemma.Sampler, ...]] = (PriorAlone(), PriorAlone(restore="linear"))

    @abstractmethod
    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        """The degradation for data of the shape in `info`."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.degradation = self.make_degradation(info)
        self.restorer: Restorer = self.config.restorer(info)
        self.end_state = EndState(info.shape, self.config)
        self.support = info.support

    def networks(self) -> Iterable[nn.Module]:
        return (self.restorer,)

    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Fit the degradation, and the distribution of the fully degraded state."""
        self.degradation.fit(train.x, ctx.generator)
        degraded = self.degraded(train.x, torch.ones(()), ctx.generator)
        self.end_state.fit(degraded, train.x, ctx.generator)

    def degraded(self, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """D(x, t), with random partners if the degradation has partners."""
        value: Tensor = self.degradation(x, t.to(x), self.degradation.partner(x, generator))
        return value

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The mean error of R(D(x, t), t) over stratified uniform severities t (Bansal et al. 2023, eq. 2)."""
        t = stratified(len(x), ctx.generator)
        return self.restorer.error(self.degraded(x, t, ctx.generator), t, x)

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        """R(x, t), clamped to the range of images, because Algorithm 1 would amplify errors without limit."""
        estimate: Tensor = self.restorer(x, t)
        return estimate if self.support is None else estimate.clamp(*self.support)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        ends = self.degradation.end(n, ctx.generator)
        return self.restore(self.end_state.sample(n, ctx.generator) if ends is None else ends, ctx)

    @torch.no_grad()
    def degrade(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """D(x, 1). Raises UnsupportedError if points are degraded to partners, which say nothing of them."""
        if self.degradation.partner(x[:1], ctx.generator) is not None:
            raise trilemma.UnsupportedError(
                f"'{self.name}' degrades a point to a partner that does not depend on it, so nothing is left to restore"
            )
        return self.degraded(x, torch.ones(()), ctx.generator)

    @torch.no_grad()
    def restore(self, degraded: Tensor, ctx: trilemma.Context) -> Tensor:
        """The points that the sampler makes of fully degraded points."""
        sampler = ctx.sampler
        if isinstance(sampler, PriorAlone):
            return self.end_state.alone(degraded, sampler)
        assert isinstance(sampler, ColdSampler)
        starts = torch.split(sampler.begin(degraded, ctx.generator), ROWS)
        return torch.cat([sampler.draw(self.estimate, self.degradation, part) for part in starts])
