"""RealNVP on images that keep their shape."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import trilemma

from ..flow import Bijection, Flow
from ..linear import ActNorm, BatchNorm
from ..model import FlowModel
from .couplings import ChannelCoupling, CheckerboardCoupling
from .layers import Squeeze
from .options import NETWORKS, ImageConfig, Net, Shape, multiscale


class MultiscaleRealNVP(FlowModel):
    """RealNVP on images (Dinh et al. 2017, section 3.6).

    A scale has three couplings with alternating checkerboard masks, a squeeze, and three couplings with alternating
    channel-wise masks; then half of the channels is factored out (eqs. 13 to 16). The last scale has four couplings
    with alternating checkerboard masks and no squeeze. A normalization follows each coupling (section 3.7).

    Deviations from the paper: log-scales are clipped softly (`bound`) instead of by a tanh with a learned factor; the
    residual networks have no batch and weight normalization, and their number of channels does not double with each
    scale; depth, optimizer settings and dropout are for small images. With `normalization = "batch-norm"` a batch is
    normalized by moving averages that include it, with the gradient through its own statistics (appendix E).
    """

    name = "realnvp-multiscale"
    accepts = ("image",)
    recipe = trilemma.Recipe(lr=5e-3, batch_size=128, weight_decay=0.5, schedule="cosine", ema=0.998, validations=40)

    class Config(ImageConfig):
        """Options of the architecture and of the training objective."""

        network: Net = Field("residual", description=NETWORKS)
        hidden: int = Field(32, ge=1, description="number of channels in the networks of the couplings")
        normalization: Literal["batch-norm", "actnorm", "none"] = Field(
            "batch-norm",
            description="layer after each coupling: batch normalization, the actnorm of Glow, or none",
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, elementwise = self.config, self.config.elementwise()

        def scale(shape: Shape, last: bool) -> tuple[list[Bijection], Shape]:
            channels, height, width = shape
            network = config.networks(info, (height, width))
            layers: list[Bijection] = []
            for number in range(4 if last else 3):
                layers.append(CheckerboardCoupling(shape, elementwise, network, even=number % 2 == 1))
                layers += self._normalization(channels)
            if last:
                return layers, shape
            channels, height, width = channels * 4, height // 2, width // 2
            network = config.networks(info, (height, width))
            layers.append(Squeeze())
            for number in range(3):
                layers.append(ChannelCoupling(channels, elementwise, network, first=number % 2 == 1))
                layers += self._normalization(channels)
            return layers, (channels, height, width)

        return multiscale(info, config, scale)

    def _normalization(self, channels: int) -> list[Bijection]:
        chosen = self.config.normalization
        return [] if chosen == "none" else [BatchNorm(channels) if chosen == "batch-norm" else ActNorm(channels)]
