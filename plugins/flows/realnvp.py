"""RealNVP: affine coupling layers."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .flow import Flow
from .fused import FusedCouplings
from .fused_maps import fused_affine
from .model import RECIPE, AffineOptions, ConditionedConfig, FlowModel, LayersOptions


class RealNVP(FlowModel):
    """RealNVP (Dinh et al. 2017), with affine coupling layers and MLP conditioners, on vectors and flattened images.

    The form of the paper for images is `realnvp-multiscale`. Deviations: log-scales are clipped softly (`bound`), not
    by a tanh with a learned factor; there is no batch normalization; the networks are MLPs on Fourier features
    (`octaves`); with more than two coordinates a fixed permutation follows every second layer.
    """

    name = "realnvp"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(8, ge=2, description="number of coupling layers")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        couplings = FusedCouplings(
            d, config.transforms, fused_affine(config.bound), config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow([couplings], self.base(info))
