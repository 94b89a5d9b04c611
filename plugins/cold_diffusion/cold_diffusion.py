"""Cold diffusion (Bansal et al. 2023): the base of its models, one for each degradation.

For a degradation of your own, subclass `ColdVectors` or `ColdImages`, give it a `name` and a docstring, and return a
`Degradation` from `make_degradation`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.mlp import MLP_RECIPE, MLPConfig
from ..networks.points import ROWS, stratified
from ..networks.unet import UNET_RECIPE, UNetConfig
from .end_state import EndState, EndStateConfig, PriorAlone
from .restoration import ColdSampler, Degradation, Naive, Restorer, Tacos


class ColdDiffusion(trilemma.NeuralModel):
    """A restorer trained to undo a degradation, and the distribution of the fully degraded state."""

    samplers = (Tacos, Naive, PriorAlone)
    always_samplers: ClassVar[tuple[trilemma.Sampler, ...]] = (PriorAlone(), PriorAlone(restore="linear"))

    @abstractmethod
    def make_degradation(self, info: trilemma.DataInfo) -> Degradation:
        """The degradation for a data shape."""

    @abstractmethod
    def make_restorer(self, info: trilemma.DataInfo) -> Restorer:
        """The restorer for a data shape."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.degradation = self.make_degradation(info)
        self.restorer = self.make_restorer(info)
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


class ColdVectors(ColdDiffusion):
    """Cold diffusion on vectors, by an MLP and the squared error."""

    recipe = MLP_RECIPE

    class Config(MLPConfig, EndStateConfig):
        """The network and the fully degraded state."""

        octaves: int = Field(4, ge=0, description="octaves of Fourier features of the point")

    def make_restorer(self, info: trilemma.DataInfo) -> Restorer:
        return Restorer(self.config.network(info), anchored=True)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """E|R(D(x, t), t) - x|^2 / t^2 at even severities, per coordinate (Bansal et al. 2023, eq. 2, in L2).

        The weight makes it the squared error of the raw network: each severity starts with the same loss.
        """
        t = stratified(len(x), ctx.generator)
        error = self.restorer(self.degraded(x, t, ctx.generator), t) - x
        loss: Tensor = (error.flatten(1) / t.unsqueeze(1)).square().mean()
        return loss


class ColdImages(ColdDiffusion):
    """Cold diffusion on images, by a U-Net and the absolute error."""

    accepts = ("image",)
    recipe = UNET_RECIPE

    class Config(UNetConfig, EndStateConfig):
        """The network and the fully degraded state."""

    def make_restorer(self, info: trilemma.DataInfo) -> Restorer:
        return Restorer(self.config.network(info), anchored=False)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """E|R(D(x, t), t) - x| at even severities, per coordinate (Bansal et al. 2023, eq. 2)."""
        t = stratified(len(x), ctx.generator)
        value: Tensor = (self.restorer(self.degraded(x, t, ctx.generator), t) - x).abs().mean()
        return value
