"""The form for images of the flow map (Boffi, Albergo & Vanden-Eijnden 2025): the same method with small U-Nets."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.unet import UNET_RECIPE, UNetConfig
from .flow_map import FlowMap, FlowMapOptions
from .likelihoods import FlowMapLikelihood
from .model import MapOptions
from .networks import MapNetwork, MapUNet
from .times import TimeOptions


class FlowMapUnet(FlowMap):
    """Flow map (Boffi, Albergo & Vanden-Eijnden 2025) with small U-Nets, on images of 8 to 32 pixels a side.

    Otherwise it is like `flow-map`. The velocity, the correction and the divergence head have a U-Net each, and the
    head is a sum over pixels. By its options it is also the form for images of `meanflow` and `shortcut`.
    """

    name = "flow-map-unet"
    accepts = ("image",)
    recipe = UNET_RECIPE.model_copy(update={"keep": "last", "validations": 0})

    class Config(MapOptions, FlowMapOptions, TimeOptions, UNetConfig):
        """Options of the networks and of their training."""

    class Likelihood(FlowMapLikelihood):
        """Options of the log-density."""

        probes: int = Field(2, ge=1, description="for ode: number of Rademacher probes in Hutchinson's estimate")

    def network(self, info: trilemma.DataInfo, *, times: int = 2, head: bool = False) -> MapNetwork:
        return MapUNet(self.config.network(info, 1 if head else None, labels=times), times=times, total=head)
