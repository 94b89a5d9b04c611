"""The forms for images of flow maps: the same methods with small U-Nets, on images of 8 to 32 pixels a side.

They are the flow map by self-distillation (Boffi, Albergo & Vanden-Eijnden 2025), its choices of options under the
names of other papers (Geng et al. 2025; Frans et al. 2025; Song et al. 2023; Lu & Song 2025), and the flow map that is
distilled from trajectories (after Luhman & Luhman 2021).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

import trilemma

from ..networks.unet import UNET_RECIPE, UNetConfig
from .distilled import DistillationOptions, DistilledFlowMap
from .flow_map import FlowMap, FlowMapOptions
from .likelihoods import FlowMapLikelihood
from .model import FewSteps, MapOptions
from .named import ConsistencyOptions, MeanFlowOptions, ShortcutOptions, ToData
from .networks import MapNetwork, MapUNet
from .times import TimeOptions


class OnImages(FewSteps):
    """A mixin for flow maps: the velocity, the correction and the divergence head have a small U-Net each.

    The head is a sum over pixels.
    """

    accepts: ClassVar[tuple[str, ...]] = ("image",)
    recipe: ClassVar[trilemma.Recipe] = UNET_RECIPE.model_copy(update={"keep": "last", "validations": 0})

    class Likelihood(FlowMapLikelihood):
        """Options of the log-density."""

        probes: int = Field(2, ge=1, description="for ode: number of Rademacher probes in Hutchinson's estimate")

    def network(self, info: trilemma.DataInfo, *, times: int = 2, head: bool = False) -> MapNetwork:
        return MapUNet(self.config.network(info, 1 if head else None, labels=times), times=times, total=head)


class UnetOptions(MapOptions, FlowMapOptions, TimeOptions, UNetConfig):
    """Options of flow maps by self-distillation on images."""


class FlowMapUnet(OnImages, FlowMap):
    """Flow map (Boffi, Albergo & Vanden-Eijnden 2025) with small U-Nets, on images of 8 to 32 pixels a side.

    Otherwise it is like `flow-map`. The velocity, the correction and the divergence head have a U-Net each, and the
    head is a sum over pixels.
    """

    name = "flow-map-unet"

    class Config(UnetOptions):
        """Options of the networks and of their training."""


class MeanFlowUnet(OnImages, FlowMap):
    """MeanFlow (Geng et al. 2025) with small U-Nets, on images of 8 to 32 pixels a side; otherwise like `meanflow`."""

    name = "meanflow-unet"

    class Config(MeanFlowOptions, UnetOptions):
        """Options of the networks and of their training."""


class ShortcutUnet(OnImages, FlowMap):
    """Shortcut model (Frans et al. 2025) with small U-Nets, on images of 8 to 32 pixels a side.

    Otherwise it is like `shortcut`.
    """

    name = "shortcut-unet"

    class Config(ShortcutOptions, UnetOptions):
        """Options of the networks and of their training."""


class ConsistencyUnet(OnImages, ToData, FlowMap):
    """Consistency training (Song et al. 2023; Lu & Song 2025) with small U-Nets, on images of 8 to 32 pixels a side.

    Otherwise it is like `consistency`.
    """

    name = "consistency-unet"

    class Config(ConsistencyOptions, UnetOptions):
        """Options of the networks and of their training."""


class DistilledFlowMapUnet(OnImages, DistilledFlowMap):
    """The method of `distilled-flow-map` (after Luhman & Luhman 2021) with small U-Nets, on images of 8 to 32 pixels.

    A trajectory costs as much as a batch of training on it, so that few are drawn: a part of them now and then, while
    the steps are trained. The velocity has half of the budget, and trajectories have fewer steps.
    """

    name = "distilled-flow-map-unet"
    part = 64
    every = 10

    class Config(MapOptions, DistillationOptions, UNetConfig):
        """Options of the networks and of their training."""

        first: float = Field(0.5, gt=0, lt=1, description="share of the budget that trains the velocity")
        intervals: int = Field(16, ge=1, description="number of steps of Heun's method in a trajectory")
