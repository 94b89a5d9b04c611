"""NICE: additive coupling layers and one diagonal scaling."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .coupling import Couplings
from .flow import Flow
from .linear import Scaling
from .model import RECIPE, FlowModel, LayersConfig
from .transforms import additive


class NICE(FlowModel):
    """NICE (Dinh et al. 2015): volume-preserving additive couplings, then a diagonal scaling."""

    name = "nice"
    recipe = RECIPE

    class Config(LayersConfig):
        """Architecture of the flow."""

        transforms: int = Field(8, ge=2, description="coupling layers")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        couplings = Couplings(
            d, config.transforms, additive(), config.hidden, octaves=config.octaves, dropout=dropout, shuffle=False
        )
        return Flow([couplings, Scaling(d)], self.base(info))
