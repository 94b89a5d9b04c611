"""RealNVP: affine coupling layers."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .coupling import Couplings
from .flow import Flow
from .model import RECIPE, AffineConfig, FlowModel
from .transforms import affine


class RealNVP(FlowModel):
    """RealNVP (Dinh et al. 2017): affine coupling layers with MLP conditioners on vectors and flattened images."""

    name = "realnvp"
    recipe = RECIPE

    class Config(AffineConfig):
        """Architecture of the flow."""

        transforms: int = Field(8, ge=2, description="coupling layers")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        couplings = Couplings(
            d, config.transforms, affine(config.bound), config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow([couplings], self.base(info))
