"""Multiscale Glow for images, with rational-quadratic spline couplings."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .base import Base, StandardNormal
from .flow import Bijection, Composition, Flow
from .fused_maps import fused_rational_quadratic
from .images import ChannelCoupling, Convolutional, FactorOut, Flatten, PixelwiseSpline, Squeeze
from .linear import ActNorm, LULinear
from .model import FlowConfig, FlowModel


class MultiscaleGlow(FlowModel):
    """Multiscale Glow (Kingma & Dhariwal 2018) on images, with spline couplings (Durkan et al. 2019, section 5.2)."""

    name = "glow-multiscale"
    accepts = ("image",)
    recipe = trilemma.Recipe(lr=6e-3, batch_size=128, weight_decay=0.5, schedule="cosine", ema=0.998, validations=40)

    class Config(FlowConfig):
        """Options of the architecture and of the training objective."""

        scales: int = Field(
            2,
            ge=1,
            description="largest number of image scales; each begins with a squeeze, which needs even height and width",
        )
        steps: int = Field(
            4, ge=1, description="number of steps of actnorm, 1x1 convolution and coupling at each scale"
        )
        hidden: int = Field(48, ge=1, description="number of channels in the conditioners")
        dense: int = Field(64, ge=1, description="number of units in the dense bottleneck of the conditioners")
        bins: int = Field(5, ge=2, description="number of bins of the splines in the couplings")
        marginal_bins: int = Field(
            32, ge=2, description="number of bins of the splines that map the marginal of each pixel to a normal one"
        )
        bound: float = Field(5.0, gt=0, description="splines act on [-bound, bound] and are the identity outside")
        factor_out: bool = Field(
            False, description="whether half of the channels become latent after each scale but the last"
        )
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout rate in the conditioners; default: 0.3 with fewer than 100 training images per "
            "coordinate, else 0",
        )

    def base(self, info: trilemma.DataInfo) -> Base:
        if self.config.base_components > 1:
            raise trilemma.UnsupportedError("the base of a multiscale flow is N(0, I): set base_components to 1")
        return StandardNormal((info.dim,))

    def make(self, info: trilemma.DataInfo) -> Flow:
        if info.kind != "image" or any(side % 2 for side in info.shape[1:]):
            raise trilemma.UnsupportedError(
                f"a multiscale flow needs images of even height and width, not '{info.name}' of shape {info.shape}"
            )
        dropout = dropout_for(info, self.config.dropout, 0.3)
        marginals = PixelwiseSpline(info.shape, self.config.marginal_bins, self.config.bound)
        return Flow([marginals, self._scale(info.shape, self.config.scales, dropout)], self.base(info))

    def _scale(self, shape: tuple[int, ...], scales: int, dropout: float) -> Bijection:
        """The scale whose input has the shape `shape`, and all scales after it."""
        config = self.config
        elementwise = fused_rational_quadratic(config.bins, config.bound)
        channels, height, width = shape[0] * 4, shape[1] // 2, shape[2] // 2
        layers: list[Bijection] = [Squeeze()]
        for _ in range(config.steps):
            net = Convolutional(
                channels // 2, channels // 2, (height, width), elementwise.width, config.hidden, config.dense, dropout
            )
            layers += [ActNorm(channels), LULinear(channels), ChannelCoupling(elementwise, net)]
        if scales == 1 or height % 2 or width % 2:
            return Composition([*layers, Flatten((channels, height, width))])
        if not config.factor_out:
            return Composition([*layers, self._scale((channels, height, width), scales - 1, dropout)])
        rest = (channels // 2, height, width)
        return Composition([*layers, FactorOut(self._scale(rest, scales - 1, dropout), (channels, height, width))])
