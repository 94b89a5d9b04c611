"""Glow for vectors."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .flow import Bijection, Flow
from .fused import FusedCouplings
from .fused_maps import fused_affine
from .linear import ActNorm, LULinear
from .model import RECIPE, AffineOptions, ConditionedConfig, FlowModel, LayersOptions


class Glow(FlowModel):
    """Glow (Kingma & Dhariwal 2018) on vectors, with steps of actnorm, LU-decomposed linear map and affine coupling."""

    name = "glow"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(8, ge=2, description="number of steps of actnorm, linear map and coupling")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        layers: list[Bijection] = []
        for _ in range(config.transforms):
            coupling = FusedCouplings(
                d, 1, fused_affine(config.bound), config.hidden, octaves=config.octaves, dropout=dropout
            )
            layers += [ActNorm(d), LULinear(d), coupling]
        return Flow(layers, self.base(info))
