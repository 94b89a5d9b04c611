"""Neural spline flows: rational-quadratic splines in coupling and in autoregressive layers (Durkan et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import dropout_for
from .autoregressive import Autoregressive, autoregressive_stack
from .base import Base
from .coupling import Couplings
from .flow import Bijection, Flow
from .fused import FusedCouplings, FusedMasked
from .fused_maps import fused_rational_quadratic
from .gaussianize import gaussianizing_spline
from .model import RECIPE, ConditionedConfig, FlowModel

FEW = 4
"""Up to this many coordinates, the default architecture is the one for sharp distributions in few dimensions."""


class SplineOptions(trilemma.Config):
    """Options of the architecture of a neural spline flow."""

    transforms: int | None = Field(
        None,
        ge=2,
        description=f"number of layers; default: 2 up to {FEW} coordinates, where few fine splines are best, else 6",
    )
    hidden: tuple[int, ...] | None = Field(
        None,
        description=f"widths of the conditioners' hidden layers; default: 32-32 up to {FEW} coordinates, else 64-64",
    )
    octaves: int = Field(0, ge=0, description="number of octaves in the Fourier features of the conditioner inputs")
    bins: int | None = Field(
        None, ge=2, description=f"number of bins of a spline; default: 48 up to {FEW} coordinates, else 8"
    )
    bound: float = Field(4.0, gt=0, description="splines act on [-bound, bound] and are the identity outside")

    marginal_start: bool = Field(
        True, description="whether the splines start as those that make the marginals of the training data normal"
    )

    def filled(self, d: int) -> Self:
        """A copy of the options in which each None is replaced by the default for `d` coordinates."""
        few, chosen = d <= FEW, self.model_dump(exclude_none=True)
        defaults = {"transforms": 2 if few else 6, "hidden": (32, 32) if few else (64, 64), "bins": 48 if few else 8}
        return self.model_copy(update={key: value for key, value in defaults.items() if key not in chosen})


class SplineFlow(Flow):
    """A flow of spline layers, which can start as splines that map the marginals of the data to normal ones."""

    def __init__(
        self, layers: Iterable[Bijection], base: Base, config: CouplingSpline.Config | AutoregressiveSpline.Config
    ) -> None:
        super().__init__(layers, base)
        self.config = config

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Initialize each layer from the outputs of the layers before it on the batch `x`."""
        bins, bound = self.config.bins, self.config.bound
        if not self.config.marginal_start or self.config.objective == "reverse-kl" or bins is None:
            return  # the reverse KL does not use the data
        for layer in self.parts():
            if isinstance(layer, Couplings | Autoregressive):
                layer.start(x, lambda moving: gaussianizing_spline(moving, bins, bound))
            x = layer(x)[0]


class CouplingSpline(FlowModel):
    """Neural spline flow with coupling layers, RQ-NSF (C) (Durkan et al. 2019, section 3.2).

    Deviations: the splines start at the marginals of the data (`marginal_start`, false for the paper's start); fixed
    permutations and no LU-decomposed linear layers between couplings; MLPs and not residual networks; the sizes of bins
    and the slopes are bounded by soft clips (`spline`); sizes are chosen by the dimension.
    """

    name = "nsf-coupling"
    recipe = RECIPE

    class Config(SplineOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> SplineFlow:
        self.config = config = self.config.filled(info.dim)
        couplings = FusedCouplings(
            info.dim,
            config.transforms,
            fused_rational_quadratic(config.bins, config.bound),
            config.hidden,
            octaves=config.octaves,
            dropout=dropout_for(info, config.dropout),
        )
        return SplineFlow([couplings], self.base(info), config)


class AutoregressiveSpline(FlowModel):
    """Neural spline flow with autoregressive layers, RQ-NSF (AR) (Durkan et al. 2019, section 3.2).

    Deviations: as for `nsf-coupling`; the order of coordinates is reversed after each layer.
    """

    name = "nsf-autoregressive"
    recipe = RECIPE

    class Config(SplineOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

    def make(self, info: trilemma.DataInfo) -> SplineFlow:
        self.config = config = self.config.filled(info.dim)
        layers = autoregressive_stack(
            info.dim,
            config.transforms,
            fused_rational_quadratic(config.bins, config.bound),
            config.hidden,
            FusedMasked,
            octaves=config.octaves,
            dropout=dropout_for(info, config.dropout),
        )
        return SplineFlow(layers, self.base(info), config)
