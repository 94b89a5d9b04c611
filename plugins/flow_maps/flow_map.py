"""Flow maps (Boffi, Albergo & Vanden-Eijnden 2025): one network for the steps of a flow between any two times."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLP_RECIPE, PLENTY, MLPConfig, scarce
from ..networks.points import ROWS, per_point, stable_target, standard_normal
from .likelihoods import KINDS, METHODS, FlowMapLikelihood, head_log_prob, jacobian_log_prob, ode_log_prob, times_of
from .networks import GatedMap, MapMLP, MapNetwork
from .objectives import (
    divergence_error,
    eulerian_error,
    jump,
    lagrangian_error,
    progressive_error,
    return_error,
    velocity_error,
)
from .times import QUARTER, TimeOptions, denoised_velocity, noise_level, on_path, time_at


class FlowMapSteps(trilemma.Sampler):
    """Steps of a flow map from noise to data, at even times, with one evaluation each."""

    name = "flow-map"
    shows_chain = True
    steps: int = Field(1, ge=1, description="number of steps, which are the network evaluations")


class FlowMapOptions(trilemma.Config):
    """Options of the objective and of the two penalties."""

    objective: Literal["lagrangian", "eulerian", "progressive"] = Field(
        "lagrangian", description="what trains the steps between two times, beside flow matching for the velocity"
    )
    velocity_share: float = Field(0.5, gt=0, lt=1, description="share of a batch that trains the velocity")
    stable_targets: bool | None = Field(
        None,
        description="whether the velocity is trained towards its mean over the batch (Xu et al. 2023), not towards "
        f"that of one path; default: yes with at least {PLENTY} training points per coordinate",
    )
    tangent: Literal["learned", "path"] = Field(
        "learned",
        description="for eulerian: the learned velocity at a point, or as in MeanFlow that of the path through it",
    )
    split: Literal["random", "middle"] = Field(
        "random", description="for progressive: where one step is split into two, as in shortcut models in the middle"
    )
    power: float = Field(
        0.0, ge=0, le=1, description="power p of the adaptive weight 1 / (error + .001)^p of each point, 1 in MeanFlow"
    )
    head: bool = Field(False, description="also train a divergence head, a network for few-step likelihoods")
    invertibility: float = Field(
        0.0, ge=0, description="weight of the penalty of steps that do not lead back to where they started"
    )


class Pair(NamedTuple):
    """Points on paths at the times `s`, the velocities of the paths, and the times `t` to which a map carries them."""

    x: Tensor
    velocity: Tensor
    s: Tensor
    t: Tensor


class FlowMap(trilemma.NeuralModel):
    """Flow map by self-distillation (Boffi, Albergo & Vanden-Eijnden 2025), with an MLP on vectors.

    A function v(x, s, t) gives the steps X_{s,t}(x) = x + (t - s) v(x, s, t) of a flow, whatever their number, and with
    s = t the velocity of the flow. It is trained by flow matching and by one of three conditions on steps
    (`objective`). Deviations from the paper: v is a velocity plus a correction that vanishes for s = t, each with a
    network of its own, and steps train the correction alone (paper: one network); the path is cos(a) z + sin(a) x (the
    paper allows any, and mostly uses a straight one); times are drawn by their noise levels, as in EDM, and a share of
    the steps starts at an end of the path; a share of the steps goes back from data to noise, for likelihoods;
    velocities have stable targets; errors have no learned weights over the two times; the same weights are learned and
    give the targets.

    With `head`, a network of its own learns divergences (F2D2, Ai et al. 2026; the paper adds an output to the map).
    `invertibility` is the weight of FALCON's penalty (Rehman et al. 2026), on steps between all times and not on the
    whole way alone.
    """

    name = "flow-map"
    family = "diffusion"
    likelihood = "ode"
    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (FlowMapSteps,)
    recipe = MLP_RECIPE.model_copy(update={"keep": "last", "validations": 0})

    class Config(FlowMapOptions, TimeOptions, MLPConfig):
        """Options of the network and of its training."""

        octaves: int = Field(5, ge=0, description="number of octaves in the Fourier features of a point, in steps")
        velocity_octaves: int = Field(
            4, ge=0, description="number of octaves in the Fourier features of a point, in the velocity"
        )

    class Likelihood(FlowMapLikelihood):
        """Options of the log-density."""

    map: MapNetwork
    head: MapNetwork | None

    def build(self, info: trilemma.DataInfo) -> None:
        self.map = GatedMap(self.network(info, times=1), self.network(info))
        self.head = self.network(info, head=True) if self.config.head else None
        chosen: bool | None = self.config.stable_targets
        self.stable_targets = not scarce(info) if chosen is None else chosen

    def network(self, info: trilemma.DataInfo, *, times: int = 2, head: bool = False) -> MapNetwork:
        """A network that sees one or two times, for velocities or as a divergence `head`."""
        config, outputs = self.config, 1 if head else info.dim
        octaves = config.velocity_octaves if times == 1 else config.octaves
        return MapMLP(info.dim, config.hidden, octaves=octaves, outputs=outputs, times=times, dropout=config.dropout)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The mean over the batch of flow matching errors of one share of the points, and of errors of steps."""
        generator, config = ctx.generator, self.config
        noise = standard_normal(x, generator)
        n = min(max(1, round(config.velocity_share * len(x))), len(x) - 1)
        t = config.times(n, generator)
        points, velocity = on_path(x[:n], noise[:n], t)
        if self.stable_targets and self.training:
            level = per_point(QUARTER * t, points).sin()
            velocity = denoised_velocity(points, stable_target(x, points / level, noise_level(t)), t)
        error = self.weighted(velocity_error(self.map, points, t, velocity)).sum()
        pair = self.pair(x[n:], noise[n:], generator)
        error = error + self.weighted(self.step_error(pair, generator)).sum()
        if self.head is not None:
            # A divergence is a sum over d coordinates, and its square grows as d^2, that of the other errors as d.
            at = pair.x, pair.s, pair.t
            error = error + divergence_error(self.head, self.map, *at, generator).sum() / x[0].numel()
        if config.invertibility > 0:
            error = error + config.invertibility * return_error(self.map, pair.x, pair.s, pair.t).sum()
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
            with torch.no_grad():
                velocity = self.map.instant(x, s)
        return eulerian_error(self.map, x, s, t, velocity)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        steps: int = getattr(ctx.sampler, "steps", 1)
        parts = []
        for rows in torch.split(torch.arange(n), ROWS):
            x = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            times = times_of(steps, 0.0, 1.0, x)
            ctx.show(0, x)
            for k in range(steps):
                x = self.step(x, times[k], times[k + 1], ctx)
                ctx.show(k + 1, x)
            parts.append(x)
        return torch.cat(parts)

    def step(self, x: Tensor, s: Tensor, t: Tensor, ctx: trilemma.Context) -> Tensor:
        """One step of the sampler from the times `s` to the times `t`, both `(n,)`."""
        return jump(self.map, x, s, t)

    def likelihood_kind(self, options: trilemma.Config) -> Any:
        assert isinstance(options, FlowMapLikelihood)
        return KINDS[options.method]

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The log-density by the method of the options, `(n,)`. Raises UnsupportedError if it needs a missing head."""
        options = ctx.likelihood
        assert isinstance(options, FlowMapLikelihood)
        if options.method == "head" and self.head is None:
            raise trilemma.UnsupportedError("the model has no divergence head: set its option `head` to true")
        ctx.details["steps"] = options.count
        if options.method != "ode":
            ctx.details.update(METHODS[options.method], probes=None)
        parts = []
        for part in torch.split(x, ROWS):
            if options.method == "jacobian":
                parts.append(jacobian_log_prob(self.map, part, options.count))
            elif self.head is not None and options.method == "head":
                parts.append(head_log_prob(self.map, self.head, part, options.count))
            else:
                values, details = ode_log_prob(self.map, part, options, ctx.generator)
                ctx.details.update(details)
                parts.append(values)
        return torch.cat(parts)

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        """The score (D - x) / sigma^2, where the denoiser D is read off the velocity.

        At x_t = sin(a) x the velocity is pi/2 (cos(a) D - sin(a) E), and x_t = sin(a) D + cos(a) E with the expected
        noise E, so that D = sin(a) x_t + cos(a) v / (pi/2).
        """
        t = time_at(sigma).to(x).expand(len(x))
        sine, cosine = (per_point(f(QUARTER * t), x) for f in (torch.sin, torch.cos))
        denoised = sine**2 * x + cosine * self.map.instant(sine * x, t) / QUARTER
        return (denoised - x) / per_point(sigma.to(x).expand(len(x)), x) ** 2
