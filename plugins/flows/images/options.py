"""Options that the flows on images share, and the parts that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

import trilemma

from ...networks.mlp import dropout_for
from ..base import StandardNormal
from ..conditioners import Conditioner
from ..flow import Bijection, Composition, Flow
from ..glow import CouplingOptions
from ..marginals import Marginals
from ..model import FlowConfig
from .couplings import Network
from .layers import FactorOut, Flatten
from .networks import Bottleneck, Convolutional, Residual

Net = Literal["convolutional", "residual", "bottleneck"]
NETWORKS = (
    "network of the couplings: the three convolutions of Glow, the residual network of RealNVP, or ours, a convolution "
    "with a dense bottleneck, which sees the whole image"
)


FACTOR_OUT = "whether half of the channels become latent after each scale but the last, as in the papers"
MARGINAL_START = (
    "whether the first layer is one spline for each pixel, which starts by making marginals normal; it is no paper's"
)


class ImageConfig(CouplingOptions, FlowConfig):
    """Options of a flow on images."""

    scales: int = Field(
        2, ge=1, description="largest number of image scales; a new scale needs an even height and width"
    )
    factor_out: bool = Field(True, description=FACTOR_OUT)
    network: Net = Field("convolutional", description=NETWORKS)
    hidden: int = Field(48, ge=1, description="number of channels in the networks of the couplings")
    blocks: int = Field(1, ge=1, description="number of residual blocks, of the residual network")
    dense: int = Field(64, ge=1, description="number of units in the dense bottleneck, of that network")
    marginal_start: bool = Field(False, description=MARGINAL_START)
    marginal_bins: int = Field(32, ge=2, description="number of bins of the splines of `marginal_start`")
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="dropout rate in the networks; default: 0.3 with fewer than 100 training images per coordinate, "
        "else 0",
    )

    def networks(self, info: trilemma.DataInfo, size: tuple[int, int]) -> Network:
        """Makes the networks of the couplings on images of `size`."""
        width, dropout = self.elementwise().width, dropout_for(info, self.dropout, 0.3)

        def make(n_in: int, n_out: int) -> Conditioner:
            if self.network == "convolutional":
                return Convolutional(n_in, n_out, width, self.hidden, dropout)
            if self.network == "residual":
                return Residual(n_in, n_out, width, self.hidden, self.blocks, dropout)
            return Bottleneck(n_in, n_out, size, width, self.hidden, self.dense, dropout)

        return make


Shape = tuple[int, int, int]
"""Channels, height and width."""

Scale = Callable[[Shape, bool], tuple[list[Bijection], Shape]]
"""Makes the layers of one scale. The arguments are the shape of its inputs and whether it is the last scale. Also gives
the shape of its outputs.
"""


def multiscale(info: trilemma.DataInfo, config: ImageConfig, scale: Scale) -> Flow:
    """A flow of several scales from images to N(0, I) (Dinh et al. 2017, eqs. 13 to 16).

    Raises UnsupportedError for data that is no image of even height and width.
    """
    if config.base_components > 1:
        raise trilemma.UnsupportedError("the base of a flow on images is N(0, I): set base_components to 1")
    if info.kind != "image" or any(side % 2 for side in info.shape[1:]):
        raise trilemma.UnsupportedError(
            f"a flow on images needs an even height and width, not '{info.name}' of shape {info.shape}"
        )

    def scales(shape: Shape, left: int) -> list[Bijection]:
        last = left == 1 or any(side % 4 for side in shape[1:])
        layers, shape = scale(shape, last)
        if last:
            return [*layers, Flatten(shape)]
        if not config.factor_out:
            return [*layers, *scales(shape, left - 1)]
        channels, height, width = shape
        return [*layers, FactorOut(Composition(scales((channels // 2, height, width), left - 1)), shape)]

    channels, height, width = info.shape
    layers = scales((channels, height, width), config.scales)
    if config.marginal_start:
        layers.insert(0, Marginals(info.shape, config.marginal_bins, config.interval))
    return Flow(layers, StandardNormal((info.dim,)))
