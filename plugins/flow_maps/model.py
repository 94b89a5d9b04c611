"""What all flow maps (Boffi, Albergo & Vanden-Eijnden 2025) share: networks, samples in few steps, and likelihoods."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLP_RECIPE, PLENTY, scarce
from ..networks.points import ROWS, per_point, stable_target
from ..networks.runge_kutta import record_overflow
from .likelihoods import KINDS, METHODS, FlowMapLikelihood, head_log_prob, jacobian_log_prob, ode_log_prob, times_of
from .networks import GatedMap, MapMLP, MapNetwork
from .objectives import divergence_error, jump, return_error, velocity_error
from .times import QUARTER, denoised_velocity, noise_level, on_path, time_at


class FlowMapSteps(trilemma.Sampler):
    """Steps of a flow map from noise to data, at even times, with one evaluation each."""

    name = "flow-map"
    shows_chain = True
    steps: int = Field(1, ge=1, description="number of steps, which are the network evaluations")


class MapOptions(trilemma.Config):
    """Options that all flow maps have: targets of the velocity, divergence head, and penalty."""

    stable_targets: bool | None = Field(
        None,
        description="whether the velocity is trained towards its mean over the batch (Xu et al. 2023), not towards "
        f"that of one path; default: yes with at least {PLENTY} training points per coordinate",
    )
    head: bool = Field(False, description="also train a divergence head, a network for few-step likelihoods")
    invertibility: float = Field(
        0.0,
        ge=0,
        description="weight of the penalty of steps that do not lead back to where they started, beside the squared "
        "errors of velocities",
    )


class MapOctaves(trilemma.Config):
    """Options of the Fourier features of points, for maps on vectors."""

    octaves: int = Field(5, ge=0, description="number of octaves in the Fourier features of a point, in steps")
    velocity_octaves: int = Field(
        4, ge=0, description="number of octaves in the Fourier features of a point, in the velocity"
    )


class FewSteps:
    """A mixin for neural models with a map v(x, s, t): it builds the networks, draws samples, and gives likelihoods.

    With the option `head`, a network of its own learns divergences (F2D2, Ai et al. 2026). `invertibility` is the
    weight of FALCON's penalty (Rehman et al. 2026). The models say where they deviate from these papers.
    """

    family: ClassVar[str] = "diffusion"
    likelihood: ClassVar[Any] = "ode"
    samplers: ClassVar[tuple[type[trilemma.Sampler], ...]] = (FlowMapSteps,)
    recipe: ClassVar[trilemma.Recipe] = MLP_RECIPE.model_copy(update={"keep": "last", "validations": 0})
    config: Any
    training: bool
    map: MapNetwork
    head: MapNetwork | None

    class Likelihood(FlowMapLikelihood):
        """Options of the log-density."""

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

    def velocity_errors(self, x: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """The flow matching error of each point, with its noise, at a time that is drawn, `(n,)`."""
        t = self.config.times(len(x), generator)
        points, velocity = on_path(x, noise, t)
        if self.stable_targets and self.training:
            level = per_point(QUARTER * t, points).sin()
            velocity = denoised_velocity(points, stable_target(x, points / level, noise_level(t)), t)
        return velocity_error(self.map, points, t, velocity)

    def further_error(self, x: Tensor, s: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """The error of the divergence head and the penalty, if there are any, summed over steps from points `x`."""
        error = x.new_zeros(())
        if self.head is not None:
            # A divergence is a sum over d coordinates, and its square grows as d^2, that of the other errors as d.
            error = error + divergence_error(self.head, self.map, x, s, t, generator).sum() / x[0].numel()
        if self.config.invertibility > 0:
            error = error + self.config.invertibility * return_error(self.map, x, s, t).sum()
        return error

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
        if options.method != "ode" and self.config.to_data:
            raise trilemma.UnsupportedError(
                "with the option `to_data` no step goes from data to noise, so that there is no density by steps"
            )
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
        if options.method == "ode":
            record_overflow(ctx, torch.cat(parts))
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
