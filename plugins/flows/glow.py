"""Glow for vectors, and the parts of Glow that are options: the coupling and the permutation before it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .flow import Bijection, Flow
from .fused import FusedCouplings, FusedElementwise
from .fused_maps import fused_additive, fused_affine, fused_rational_quadratic
from .linear import ActNorm, LULinear, Permuted
from .marginals import Marginals
from .model import RECIPE, ConditionedConfig, FlowModel, LayersOptions

Permutation = Literal["1x1-convolution", "shuffle", "reverse"]
PERMUTATION = (
    "permutation of the channels before a coupling: an invertible 1x1 convolution, which is a matrix, a fixed random "
    "permutation, or the reverse order"
)
Coupling = Literal["affine", "additive", "spline"]
COUPLING = (
    "elementwise map of the couplings: affine, additive, or a rational-quadratic spline (Durkan et al. 2019), which is "
    "no part of Glow"
)


def permutation(kind: Permutation, channels: int) -> Bijection:
    """The layer before a coupling (Kingma & Dhariwal 2018, section 3.2 and 5.1)."""
    if kind == "1x1-convolution":
        return LULinear(channels)
    return Permuted.shuffled(channels) if kind == "shuffle" else Permuted.reversed(channels)


class CouplingOptions(trilemma.Config):
    """The elementwise map of coupling layers."""

    bound: float = Field(3.0, gt=0, description="largest absolute log-scale of one affine layer")
    coupling: Coupling = Field("affine", description=COUPLING)
    bins: int = Field(5, ge=2, description="number of bins of a spline")
    interval: float = Field(5.0, gt=0, description="splines act on [-interval, interval] and are the identity outside")

    def elementwise(self) -> FusedElementwise:
        """The map that the options name."""
        if self.coupling == "affine":
            return fused_affine(self.bound)
        return fused_additive() if self.coupling == "additive" else fused_rational_quadratic(self.bins, self.interval)


class Glow(FlowModel):
    """Glow (Kingma & Dhariwal 2018) on vectors, with steps of actnorm, permutation and coupling.

    The 1x1 convolution of the paper is a matrix over the coordinates, in its LU decomposition (section 3.2).
    Deviations: log-scales of affine couplings are clipped softly (`bound`); the networks are MLPs on Fourier features
    (`octaves`). Spline couplings (`coupling`) and a first layer that makes the marginals normal (`marginal_start`) are
    ours, and off by default.
    """

    name = "glow"
    recipe = RECIPE

    class Config(CouplingOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(8, ge=2, description="number of steps of actnorm, permutation and coupling")
        permutation: Permutation = Field("1x1-convolution", description=PERMUTATION)
        marginal_start: bool = Field(
            False,
            description="whether the first layer is one spline for each coordinate, which starts by making marginals "
            "normal",
        )
        marginal_bins: int = Field(32, ge=2, description="number of bins of the splines of `marginal_start`")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        layers: list[Bijection] = []
        if config.marginal_start:
            layers.append(Marginals((d,), config.marginal_bins, config.interval))
        for _ in range(config.transforms):
            coupling = FusedCouplings(
                d, 1, config.elementwise(), config.hidden, octaves=config.octaves, dropout=dropout
            )
            layers += [ActNorm(d), permutation(config.permutation, d), coupling]
        return Flow(layers, self.base(info))
