"""Masked and inverse autoregressive flows: the same layer in its two directions."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..networks.mlp import dropout_for
from .autoregressive import autoregressive_stack
from .flow import Bijection, Flow, Inverse
from .fused import FusedMasked
from .fused_maps import fused_affine
from .model import RECIPE, AffineOptions, ConditionedConfig, FlowModel, LayersOptions


class MAF(FlowModel):
    """Masked autoregressive flow (Papamakarios et al. 2017): density in one pass, sampling in one per coordinate.

    Deviations: there is no batch normalization between layers; log-scales are clipped softly (`bound`); hidden units of
    the masked networks get their degrees in turn and not at random; the networks see Fourier features (`octaves`).
    """

    name = "maf"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(
            8, ge=1, description="number of autoregressive layers, each with the reverse order of the one before"
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow(affine_layers(info, self.config), self.base(info))


class IAF(FlowModel):
    """Inverse autoregressive flow (Kingma et al. 2016): samples in one pass, density in one pass per coordinate.

    Training by maximum likelihood uses the slow direction. Training by the reverse KL, as in the paper, uses the fast
    direction. Deviations: this is a density model of data, not the posterior of an autoencoder, so that it has no
    context; a layer is x exp(s) + t with a soft clip on s (`bound`), and not the paper's gated form; the
    networks are masked MLPs on Fourier features.
    """

    name = "iaf"
    recipe = RECIPE

    class Config(AffineOptions, LayersOptions, ConditionedConfig):
        """Options of the architecture and of the training objective."""

        transforms: int = Field(
            4, ge=1, description="number of autoregressive layers, each with the reverse order of the one before"
        )

    def make(self, info: trilemma.DataInfo) -> Flow:
        return Flow([Inverse(layer) for layer in affine_layers(info, self.config)], self.base(info))


def affine_layers(info: trilemma.DataInfo, config: MAF.Config | IAF.Config) -> list[Bijection]:
    """The affine autoregressive layers of MAF and, inverted, of IAF."""
    dropout, elementwise = dropout_for(info, config.dropout), fused_affine(config.bound)
    return autoregressive_stack(
        info.dim, config.transforms, elementwise, config.hidden, FusedMasked, octaves=config.octaves, dropout=dropout
    )
