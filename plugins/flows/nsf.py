"""Neural spline flows: rational-quadratic splines in coupling and in autoregressive layers (Durkan et al. 2019)."""

from __future__ import annotations

from pydantic import Field

import trilemma
from trilemma.plugins.flows.autoregressive import autoregressive_stack
from trilemma.plugins.flows.coupling import coupling_stack
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.model import FlowConfig, FlowModel, dropout_for
from trilemma.plugins.flows.spline import rational_quadratic


class SplineConfig(FlowConfig):
    """Architecture of a neural spline flow."""

    transforms: int = Field(2, ge=1, description="layers: few with fine splines beat many with coarse ones")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the conditioners' hidden layers")
    octaves: int = Field(2, ge=0, description="octaves of Fourier features that a conditioner sees of each coordinate")
    bins: int = Field(32, ge=2, description="bins of a spline")
    bound: float = Field(3.5, gt=0, description="a spline acts on [-bound, bound], the identity outside")
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="dropout in the conditioners; by default 0.4 below 100 training points per coordinate, else 0",
    )


class CouplingSpline(FlowModel):
    """Neural spline flow with coupling layers, RQ-NSF (C) (Durkan et al. 2019, section 3.2)."""

    name = "nsf-coupling"
    recipe = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(SplineConfig):
        """Architecture of the flow."""

        transforms: int = Field(2, ge=2, description="layers: few with fine splines beat many with coarse ones")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        if d < 2:
            raise trilemma.UnsupportedError("coupling layers need at least 2 coordinates")
        elementwise = rational_quadratic(config.bins, config.bound)
        dropout = dropout_for(info, config.dropout)
        layers = coupling_stack(
            d, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow(layers, self.base(info))


class AutoregressiveSpline(FlowModel):
    """Neural spline flow with autoregressive layers, RQ-NSF (AR) (Durkan et al. 2019, section 3.2)."""

    name = "nsf-autoregressive"
    recipe = trilemma.Recipe(lr=5e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(SplineConfig):
        """Architecture of the flow."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        elementwise = rational_quadratic(config.bins, config.bound)
        dropout = dropout_for(info, config.dropout)
        layers = autoregressive_stack(
            info.dim, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow(layers, self.base(info))
