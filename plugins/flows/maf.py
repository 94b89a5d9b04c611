"""Masked and inverse autoregressive flows: one layer, in its two directions."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .autoregressive import autoregressive_stack
from .flow import Flow, Inverse
from .model import RECIPE, AffineConfig, FlowModel
from .transforms import affine


class AffineAutoregressiveConfig(AffineConfig):
    """Architecture of an affine autoregressive flow."""

    transforms: int = Field(8, ge=1, description="autoregressive layers, each in the reverse order of the one before")


class MAF(FlowModel):
    """Masked autoregressive flow (Papamakarios et al. 2017): density in one pass, sampling in one per coordinate."""

    name = "maf"
    recipe = RECIPE

    class Config(AffineAutoregressiveConfig):
        """Architecture of the flow."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        dropout = dropout_for(info, config.dropout)
        elementwise = affine(config.bound)
        layers = autoregressive_stack(
            info.dim, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow(layers, self.base(info))


class IAF(FlowModel):
    """Inverse autoregressive flow (Kingma et al. 2016): sampling in one pass, density in one for each coordinate.

    Maximum likelihood trains it through the slow direction; the reverse KL, its use in the paper, through the fast one.
    """

    name = "iaf"
    recipe = RECIPE

    class Config(AffineAutoregressiveConfig):
        """Architecture of the flow."""

        transforms: int = Field(
            4, ge=1, description="autoregressive layers, each in the reverse order of the one before"
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        dropout = dropout_for(info, config.dropout)
        elementwise = affine(config.bound)
        layers = autoregressive_stack(
            info.dim, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow([Inverse(layer) for layer in layers], self.base(info))
