"""Neural spline flows: rational-quadratic splines in coupling and in autoregressive layers (Durkan et al. 2019)."""

from __future__ import annotations

import torch
from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .autoregressive import Autoregressive, autoregressive_stack
from .coupling import Couplings
from .flow import Flow
from .gaussianize import gaussianizing_spline
from .model import RECIPE, ConditionedConfig, FlowModel, starting_points
from .spline import rational_quadratic

FEW = 4
"""Coordinates up to which an architecture is chosen for sharp distributions of few coordinates."""


class SplineConfig(ConditionedConfig):
    """Architecture of a neural spline flow."""

    transforms: int | None = Field(
        None, ge=2, description=f"layers; default: 2 up to {FEW} coordinates, where few fine splines are best, else 6"
    )
    hidden: tuple[int, ...] | None = Field(
        None,
        description=f"widths of the conditioners' hidden layers; default: 32-32 up to {FEW} coordinates, else 64-64",
    )
    octaves: int = Field(0, ge=0, description="octaves of Fourier features that a conditioner sees of each coordinate")
    bins: int | None = Field(None, ge=2, description=f"bins of a spline; default: 48 up to {FEW} coordinates, else 8")
    bound: float = Field(4.0, gt=0, description="a spline acts on [-bound, bound], the identity outside")

    def filled(self, d: int) -> SplineConfig:
        """With the defaults for `d` coordinates in the place of None."""
        few = d <= FEW
        defaults = {"transforms": 2 if few else 6, "hidden": (32, 32) if few else (64, 64), "bins": 48 if few else 8}
        return self.model_copy(update={key: value for key, value in defaults.items() if getattr(self, key) is None})


class SplineFlow(FlowModel):
    """Starts from splines that take the marginals of the data to normal ones."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.config = self.config.filled(info.dim)
        super().build(info)

    @torch.no_grad()
    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        if self.config.objective == "reverse-kl":  # the data plays no part
            return
        x = starting_points(train)
        assert isinstance(self.flow, Flow)
        for layer in self.flow.chain():
            if isinstance(layer, Couplings | Autoregressive):
                layer.start(x, lambda moving: gaussianizing_spline(moving, self.config.bins, self.config.bound))
            x = layer(x)[0]


class CouplingSpline(SplineFlow):
    """Neural spline flow with coupling layers, RQ-NSF (C) (Durkan et al. 2019, section 3.2)."""

    name = "nsf-coupling"
    recipe = RECIPE

    class Config(SplineConfig):
        """Architecture of the flow."""

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        elementwise = rational_quadratic(config.bins, config.bound)
        dropout = dropout_for(info, config.dropout)
        couplings = Couplings(d, config.transforms, elementwise, config.hidden, octaves=config.octaves, dropout=dropout)
        return Flow([couplings], self.base(info))


class AutoregressiveSpline(SplineFlow):
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
