"""Neural spline flows: rational-quadratic splines in coupling and in autoregressive layers (Durkan et al. 2019)."""

from __future__ import annotations

from pydantic import Field

import trilemma
from trilemma.plugins.flows.autoregressive import autoregressive_stack
from trilemma.plugins.flows.coupling import coupling_stack
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.model import RECIPE, ConditionedConfig, FlowModel, dropout_for
from trilemma.plugins.flows.spline import rational_quadratic


class SplineConfig(ConditionedConfig):
    """Architecture of a neural spline flow."""

    transforms: int = Field(2, ge=1, description="layers: few with fine splines beat many with coarse ones")
    bins: int = Field(32, ge=2, description="bins of a spline")
    bound: float = Field(3.5, gt=0, description="a spline acts on [-bound, bound], the identity outside")


class CouplingSpline(FlowModel):
    """Neural spline flow with coupling layers, RQ-NSF (C) (Durkan et al. 2019, section 3.2)."""

    name = "nsf-coupling"
    recipe = RECIPE

    class Config(SplineConfig):
        """Architecture of the flow."""

        transforms: int = Field(2, ge=2, description="layers: few with fine splines beat many with coarse ones")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        elementwise = rational_quadratic(config.bins, config.bound)
        dropout = dropout_for(info, config.dropout)
        layers = coupling_stack(
            d, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout
        )
        return Flow(layers, self.base(info))


class AutoregressiveSpline(FlowModel):
    """Neural spline flow with autoregressive layers, RQ-NSF (AR) (Durkan et al. 2019, section 3.2)."""

    name = "nsf-autoregressive"
    recipe = RECIPE

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
