"""Glow for vectors."""

from __future__ import annotations

from itertools import chain

from pydantic import Field

import trilemma
from trilemma.plugins.flows.coupling import coupling_stack
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.linear import ActNorm, LULinear
from trilemma.plugins.flows.model import RECIPE, AffineConfig, FlowModel, dropout_for
from trilemma.plugins.flows.transforms import affine


class Glow(FlowModel):
    """Glow (Kingma & Dhariwal 2018) on vectors: steps of actnorm, LU-decomposed linear map and affine coupling."""

    name = "glow"
    recipe = RECIPE

    class Config(AffineConfig):
        """Architecture of the flow."""

        transforms: int = Field(8, ge=2, description="steps")

    def make(self, info: trilemma.DataInfo) -> Flow:
        config, d = self.config, info.dim
        dropout = dropout_for(info, config.dropout)
        couplings = coupling_stack(
            d,
            config.transforms,
            affine(config.bound),
            config.hidden,
            octaves=config.octaves,
            dropout=dropout,
            shuffle=False,
        )
        steps = ((ActNorm(d), LULinear(d), coupling) for coupling in couplings)
        return Flow(chain.from_iterable(steps), self.base(info))
