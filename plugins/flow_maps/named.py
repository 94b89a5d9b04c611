"""Flow maps under the names of other papers, each a choice of the options of `flow-map`."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.points import standard_normal
from .flow_map import FlowMap
from .model import FewSteps
from .networks import MapNetwork
from .objectives import jump
from .times import on_path


class PathOptions(trilemma.Config):
    """Options of training by the Eulerian condition along the velocities of paths."""

    objective: Literal["lagrangian", "eulerian", "progressive"] = Field(
        "eulerian", description="what trains the steps between two times, beside flow matching for the velocity"
    )
    tangent: Literal["learned", "path"] = Field(
        "path", description="for eulerian: the learned velocity at a point, or that of the path through it"
    )
    power: float = Field(
        1.0, ge=0, le=1, description="power p of the adaptive weight 1 / (error + .001)^p of each point"
    )


class MeanFlowOptions(PathOptions):
    """The options that make a flow map a MeanFlow."""

    velocity_share: float = Field(0.75, gt=0, lt=1, description="share of a batch that trains the velocity")


class MeanFlow(FlowMap):
    """MeanFlow (Geng et al. 2025): a flow map by the Eulerian condition along the velocities of paths.

    As in the paper, three quarters of the points train the velocity, and errors have the adaptive weight with p = 1.
    Deviations from the paper: those of `flow-map`, whose path and times it has; a quarter of the steps goes back from
    data to noise, for likelihoods; there is no guidance.
    """

    name = "meanflow"
    recipe = FewSteps.recipe

    class Config(MeanFlowOptions, FlowMap.Config):
        """Options of the network and of its training."""


class ShortcutOptions(trilemma.Config):
    """The options that make a flow map a shortcut model."""

    objective: Literal["lagrangian", "eulerian", "progressive"] = Field(
        "progressive", description="what trains the steps between two times, beside flow matching for the velocity"
    )
    velocity_share: float = Field(0.75, gt=0, lt=1, description="share of a batch that trains the velocity")
    split: Literal["random", "middle"] = Field(
        "middle", description="for progressive: where one step is split into two"
    )


class Shortcut(FlowMap):
    """Shortcut model (Frans et al. 2025): a flow map whose every step is as good as two of half its length.

    As in the paper, three quarters of the points train the velocity. Deviations from the paper: those of `flow-map`,
    whose path and times it has; steps have any length and not powers of 1/2; a quarter of them goes back from data to
    noise, for likelihoods; there is no guidance, and the learned weights give the targets, not an average of them.
    """

    name = "shortcut"
    recipe = FewSteps.recipe

    class Config(ShortcutOptions, FlowMap.Config):
        """Options of the network and of its training."""


class ConsistencySteps(trilemma.Sampler):
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): each step goes to the data, then adds noise."""

    name = "consistency"
    shows_chain = True
    steps: int = Field(1, ge=1, description="number of steps, which are the network evaluations")


class ToData:
    """A mixin for flow maps that are consistency models: each step of their sampler goes to the data."""

    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (ConsistencySteps,)
    map: MapNetwork

    def step(self, x: Tensor, s: Tensor, t: Tensor, ctx: trilemma.Context) -> Tensor:
        """From the data back to the path at the time `s`, by new noise, and from there to the data."""
        if s[0] > 0:
            x, _ = on_path(x, standard_normal(x, ctx.generator), s)
        return jump(self.map, x, s, torch.ones_like(t))


class ConsistencyOptions(PathOptions):
    """The options that make a flow map a consistency model."""

    to_data: bool = Field(True, description="whether all steps end at the data")
    normalization: float = Field(
        0.1, ge=0, description="for eulerian: c of the normalized tangents g / (|g| + c); 0 leaves them as they are"
    )
    power: float = Field(
        0.0, ge=0, le=1, description="power p of the adaptive weight 1 / (error + .001)^p of each point"
    )


class Consistency(ToData, FlowMap):
    """Consistency training (Song et al. 2023; Lu & Song 2025, in continuous time): a flow map to the data alone.

    The network is trained by the Eulerian condition along the velocities of paths, with the normalized tangents of Lu &
    Song (sCM, c = .1). Deviations from the papers: those of `flow-map`, whose path and times it has; half of the points
    train the velocity, so that there is a likelihood; of sCM, the time distribution, the learned weight of the times,
    the warm-up of the tangents and the normalization in the network are not there; Fourier features have high
    frequencies. With the adaptive weight of MeanFlow in place of normalized tangents (`normalization = 0`, `power = 1`)
    samples were farther from the data.
    """

    name = "consistency"
    recipe = FewSteps.recipe

    class Config(ConsistencyOptions, FlowMap.Config):
        """Options of the network and of its training."""
