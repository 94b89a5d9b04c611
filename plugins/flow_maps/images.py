"""The form for images of flow maps: the same method with a small convolutional U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd import forward_ad

import trilemma

from ..networks.divergence import EXACT_UP_TO
from ..networks.unet import UNET_RECIPE, UNet, UNetConfig
from .flow_map import FlowMap, FlowMapOptions
from .likelihoods import FlowMapLikelihood
from .networks import Direction, MapNetwork
from .times import QUARTER, time_label


class MapUNet(MapNetwork):
    """v(x, s, t) on images: a U-Net that gets the labels of the first `times` times.

    With `total` it gives the sum over pixels. Derivatives are computed by forward-mode automatic differentiation.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        widths: Sequence[int],
        blocks: int,
        dropout: float,
        times: int,
        total: bool,
    ) -> None:
        super().__init__()
        self.body = UNet(shape, outputs, widths=widths, blocks=blocks, dropout=dropout, labels=times)
        self.times = times
        self.total = total

    def forward(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        value: Tensor = QUARTER * self.body(x, torch.stack([time_label(time) for time in (s, t)[: self.times]], dim=1))
        return value.flatten(1).sum(1, keepdim=True) if self.total else value

    def along(self, x: Tensor, s: Tensor, t: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        with forward_ad.dual_level():
            moved = (
                value if change is None else forward_ad.make_dual(value, change.contiguous())
                for value, change in zip((x, s, t), direction, strict=True)
            )
            value, rate = forward_ad.unpack_dual(self(*moved))
        assert rate is not None
        return value, rate


class FlowMapUnet(FlowMap):
    """Flow map (Boffi, Albergo & Vanden-Eijnden 2025) with a small U-Net, on images of 8 to 32 pixels a side.

    Otherwise it is like `flow-map`, except that ln(sigma) has mean -1 and deviation 1.4 in training.
    """

    name = "flow-map-unet"
    accepts = ("image",)
    recipe = UNET_RECIPE.model_copy(update={"keep": "last", "validations": 0})

    class Config(FlowMapOptions, UNetConfig):
        """Options of the network and of its training."""

        log_level: tuple[float, float] = Field(
            (-1.0, 1.4), description="mean and standard deviation of ln(sigma) for the times in training, as in EDM"
        )

    class Likelihood(FlowMapLikelihood):
        """Options of the log-density. Images have many pixels, so that the divergence of the ODE is estimated."""

        divergence: Literal["auto", "exact", "hutchinson"] = Field(
            "hutchinson",
            description="for ode: exact, Hutchinson's estimate, or auto, which is exact up to "
            f"{EXACT_UP_TO} dimensions",
        )
        probes: int = Field(2, ge=1, description="for ode: number of Rademacher probes in Hutchinson's estimate")

    def network(self, info: trilemma.DataInfo, outputs: int, times: int = 2, total: bool = False) -> MapNetwork:
        channels, height, width = info.shape
        config = self.config
        options = {"widths": config.widths, "blocks": config.blocks, "dropout": config.dropout}
        return MapUNet((channels, height, width), outputs, **options, times=times, total=total)
