"""NICE: additive coupling layers and one diagonal scaling."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .flow import Flow
from .fused import FusedCouplings
from .fused_maps import fused_additive
from .linear import Scaling
from .model import RECIPE, ConditionedConfig, FlowModel, LayersOptions


class NICE(FlowModel):
    """NICE (Dinh et al. 2015), with volume-preserving additive couplings and then a diagonal scaling.

    Deviations: the base distribution is normal, where the paper also has a logistic one; the log-scales are clipped
    softly to 6; the networks are MLPs on Fourier features (`octaves`), of other sizes.
    """

    name = "nice"
    recipe = RECIPE

    class Config(LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(8, ge=2, description="number of coupling layers")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        couplings = FusedCouplings(
            d,
            config.transforms,
            fused_additive(),
            config.hidden,
            octaves=config.octaves,
            dropout=dropout,
            shuffle=False,
        )
        return Flow([couplings, Scaling(d)], self.base(info))
