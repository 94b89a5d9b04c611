"""NICE: additive coupling layers and one diagonal scaling."""

from __future__ import annotations

from pydantic import Field

import trilemma
from trilemma.plugins.flows.coupling import coupling_stack
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.linear import Scaling
from trilemma.plugins.flows.model import FlowConfig, FlowModel, dropout_for
from trilemma.plugins.flows.transforms import additive


class NICE(FlowModel):
    """NICE (Dinh et al. 2015): volume-preserving additive couplings, then a diagonal scaling."""

    name = "nice"
    recipe = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(FlowConfig):
        """Architecture of the flow."""

        transforms: int = Field(8, ge=2, description="coupling layers")
        hidden: tuple[int, ...] = Field((64, 64), description="widths of the conditioners' hidden layers")
        octaves: int = Field(
            2, ge=0, description="octaves of Fourier features that a conditioner sees of each coordinate"
        )
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout in the conditioners; by default 0.4 below 100 training points per coordinate, else 0",
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        if d < 2:
            raise trilemma.UnsupportedError("coupling layers need at least 2 coordinates")
        dropout = dropout_for(info, config.dropout)
        layers = coupling_stack(
            d, config.transforms, additive(), config.hidden, octaves=config.octaves, dropout=dropout, shuffle=False
        )
        return Flow([*layers, Scaling(d)], self.base(info))
