"""Flow maps (Boffi, Albergo & Vanden-Eijnden 2025): one network for the steps of a flow between any two times."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import standard_normal
from .model import FewSteps, MapOctaves, MapOptions
from .networks import as_evaluated
from .objectives import eulerian_error, lagrangian_error, progressive_error
from .times import QUARTER, TimeOptions, on_path


class FlowMapOptions(trilemma.Config):
    """Options of self-distillation."""

    objective: Literal["lagrangian", "eulerian", "progressive"] = Field(
        "lagrangian", description="what trains the steps between two times, beside flow matching for the velocity"
    )
    velocity_share: float = Field(0.5, gt=0, lt=1, description="share of a batch that trains the velocity")
    tangent: Literal["learned", "path"] = Field(
        "learned",
        description="for eulerian: the learned velocity at a point, or as in MeanFlow that of the path through it",
    )
    normalization: float = Field(
        0.0,
        ge=0,
        description="for eulerian: c of the normalized tangents g / (|g| + c), .1 in sCM; 0 leaves them as they are",
    )
    split: Literal["random", "middle"] = Field(
        "random", description="for progressive: where one step is split into two, as in shortcut models in the middle"
    )
    power: float = Field(
        0.0, ge=0, le=1, description="power p of the adaptive weight 1 / (error + .001)^p of each point, 1 in MeanFlow"
    )


class Pair(NamedTuple):
    """Points on paths at the times `s`, the velocities of the paths, and the times `t` to which a map carries them."""

    x: Tensor
    velocity: Tensor
    s: Tensor
    t: Tensor


class FlowMap(FewSteps, trilemma.NeuralModel):
    """Flow map by self-distillation (Boffi, Albergo & Vanden-Eijnden 2025), with an MLP on vectors.

    A function v(x, s, t) gives the steps X_{s,t}(x) = x + (t - s) v(x, s, t) of a flow, whatever their number, and with
    s = t the velocity of the flow. It is trained by flow matching and by one of three conditions on steps
    (`objective`). Deviations from the paper: v is a velocity plus a correction that vanishes for s = t, each with a
    network of its own, and steps train the correction alone (paper: one network); the path is cos(a) z + sin(a) x (the
    paper allows any, and mostly uses a straight one); times are drawn by their noise levels, as in EDM, and a share of
    the steps starts at an end of the path; a share of the steps goes back from data to noise, for likelihoods;
    velocities have stable targets; errors have no learned weights over the two times; the same weights are learned and
    give the targets, without dropout.

    With `head`, a network of its own learns divergences. In F2D2 (Ai et al. 2026) they are one more output of the map,
    and both are distilled from a velocity that was trained before; here all parts are trained at once, and the velocity
    that is learned meanwhile gives the targets.

    `invertibility` is the weight of FALCON's penalty (Rehman et al. 2026) beside the squared errors of velocities, all
    of which are divided by d (pi/2)^2 in d dimensions. Its gradient trains the correction alone, too, and the paper's
    the whole map. FALCON takes densities of the samples that it draws, from the steps between noise and data at times
    of EDM; here the likelihood `jacobian` is that of given points, from the even steps back.
    """

    name = "flow-map"
    recipe = FewSteps.recipe.model_copy(update={"lr": 7e-3})

    class Config(MapOptions, FlowMapOptions, TimeOptions, MapOctaves, MLPConfig):
        """Options of the network and of its training."""

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The mean over the batch of flow matching errors of one share of the points, and of errors of steps."""
        generator, config = ctx.generator, self.config
        noise = standard_normal(x, generator)
        n = min(max(1, round(config.velocity_share * len(x))), len(x) - 1)
        error = self.weighted(self.velocity_errors(x[:n], noise[:n], generator)).sum()
        pair = self.pair(x[n:], noise[n:], generator)
        error = error + self.weighted(self.step_error(pair, generator)).sum()
        error = error + self.further_error(pair.x, pair.s, pair.t, generator)
        return error / (x.numel() * QUARTER**2)

    def weighted(self, error: Tensor) -> Tensor:
        """Errors with their adaptive weights."""
        power: float = self.config.power
        return error if power == 0 else error / (error.detach() + 1e-3) ** power

    def pair(self, x: Tensor, noise: Tensor, generator: torch.Generator) -> Pair:
        """Points on the paths between noise and data, and pairs of times."""
        s, t = self.config.pairs(len(x), generator)
        points, velocity = on_path(x, noise, s)
        return Pair(points, velocity, s, t)

    def step_error(self, pair: Pair, generator: torch.Generator) -> Tensor:
        """The error of steps by the objective, `(n,)`."""
        x, velocity, s, t = pair
        if self.config.objective == "lagrangian":
            return lagrangian_error(self.map, x, s, t)
        if self.config.objective == "progressive":
            middle = self.config.split == "middle"
            share = 0.5 if middle else torch.rand(len(s), generator=generator, device=s.device)
            return progressive_error(self.map, x, s, s + share * (t - s), t)
        if self.config.tangent == "learned":
            with torch.no_grad(), as_evaluated(self.map):
                velocity = self.map.instant(x, s)
        return eulerian_error(self.map, x, s, t, velocity, normalization=self.config.normalization)
