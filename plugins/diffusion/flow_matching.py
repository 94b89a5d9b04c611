"""Conditional flow matching along straight paths (Lipman et al. 2023), and the parts that its variants share.

The vector field is expressed as a denoiser (`VelocityPrediction`), so that flow matching uses the solvers and the
likelihood of diffusions. Euler's method in the time of the path is DDIM at the noise levels (1 - s)/s. Other paths are
stochastic interpolants from noise to data (Albergo, Boffi & Vanden-Eijnden 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import shuffled, standard_normal
from .autoguidance import Guided
from .denoiser import Denoiser, DenoiserSampler, Preconditioned, VelocityPrediction, noise_residual
from .likelihood import OdeDensity
from .model import Denoising
from .ode import ddim, dpm_solver_2m, euler_angle
from .ode_samplers import ODE_SAMPLERS
from .schedules import Diffusion
from .sde import interpolant_step
from .sde_samplers import TimeGrid


@dataclass(frozen=True)
class StraightPath(Diffusion):
    """The path x_t = (1 - s) z + s x_0 of flow matching, with s from 1 - edge at time 0 down to edge at time 1.

    Time 1 is noise, as in other diffusions. The noise level (1 - s)/s would be infinite at s = 0, and 0 at s = 1. With
    `latent` = a it is the path (1 - s) z + s x_0 + sqrt(a s (1 - s)) z' with more noise z' (Albergo, Boffi &
    Vanden-Eijnden 2023). z and z' together are one noise of the variance (1 - s)^2 + a s (1 - s). Near the data it
    falls as the root of 1 - s, so that s starts at 1 - edge^2 to get to noise levels as low as without z'.
    """

    edge: float = 1e-3
    latent: float = 0.0

    @property
    def _first(self) -> float:
        return self.edge**2 if self.latent else self.edge

    @property
    def _rate(self) -> float:
        return 1 - self.edge - self._first

    def _noise_share(self, t: Tensor) -> Tensor:
        return self._first + self._rate * t

    def _ratio(self, t: Tensor) -> Tensor:
        return self._noise_share(t) / (1 - self._noise_share(t))

    def drift(self, t: Tensor) -> Tensor:
        return -self._rate / self.alpha(t)

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return self._rate * (2 * self._ratio(t) + self.latent)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - self._noise_share(t)

    def sigma(self, t: Tensor) -> Tensor:
        ratio = self._ratio(t)
        return (ratio**2 + self.latent * ratio).sqrt() if self.latent else ratio

    def time(self, sigma: Tensor) -> Tensor:
        half = self.latent / 2  # the form without a difference keeps small noise levels in float32
        ratio = sigma**2 / ((sigma**2 + half**2).sqrt() + half) if self.latent else sigma
        return (ratio / (1 + ratio) - self._first) / self._rate


@dataclass(frozen=True)
class TrigonometricPath(Diffusion):
    """The path x_t = sin(a) z + cos(a) x_0, whose angle a runs over a quarter arc without a share `edge` at each end.

    It is one of the interpolants of Albergo, Boffi & Vanden-Eijnden 2023, and has unit variance if the data has.
    """

    edge: float = 1e-3

    @property
    def _rate(self) -> float:
        return math.pi / 2 * (1 - 2 * self.edge)

    def angle(self, t: Tensor) -> Tensor:
        """The angle a from the data."""
        return math.pi / 2 * self.edge + self._rate * t

    def drift(self, t: Tensor) -> Tensor:
        return -self._rate * self.angle(t).tan()

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return 2 * self._rate * self.angle(t).tan()

    def alpha(self, t: Tensor) -> Tensor:
        return self.angle(t).cos()

    def sigma(self, t: Tensor) -> Tensor:
        return self.angle(t).tan()

    def time(self, sigma: Tensor) -> Tensor:
        return (sigma.atan() - math.pi / 2 * self.edge) / self._rate


class FlowEuler(DenoiserSampler):
    """Euler's method for flow matching, with even steps in the time of the path and `steps` evaluations.

    Along a path with `latent` noise the steps are those of DDIM.
    """

    name = "flow-euler"
    steps: int = Field(20, ge=1, description="number of steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        euler = euler_angle if isinstance(diffusion, TrigonometricPath) else ddim
        return euler(denoise, noise, path_noise_levels(self.steps, diffusion), show=ctx.show)


class FlowMultistep(DenoiserSampler):
    """DPM-Solver++(2M) for flow matching, with even steps in the time of the path and `steps` evaluations."""

    name = "flow-multistep"
    steps: int = Field(10, ge=1, description="number of steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return dpm_solver_2m(denoise, noise, path_noise_levels(self.steps, diffusion), show=ctx.show)


class FlowSde(TimeGrid, DenoiserSampler):
    """Euler-Maruyama steps of an SDE with the marginals of the path (Albergo, Boffi & Vanden-Eijnden 2023).

    dx = (b + eps score) ds + sqrt(2 eps) dw, with even steps of the time s of the path. The paper allows any
    coefficient eps. Here it is proportional to the standard deviation of the noise that is left, so that the steps stay
    stable near the data. Velocity b and score are those of one denoiser.
    """

    name = "flow-sde"
    epsilon: float = Field(
        1.0, ge=0, description="coefficient eps, divided by the standard deviation of the noise at a time; 0 is the ODE"
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        step = partial(interpolant_step, epsilon=self.epsilon)
        return self.solve(denoise, noise, diffusion, ctx.generator, step, show=ctx.show)


def path_noise_levels(steps: int, diffusion: Diffusion) -> Tensor:
    """The noise levels at which `steps` even steps of time start, falling, float64."""
    return diffusion.sigma(1 - torch.arange(steps, dtype=torch.float64) / steps)


FLOW_SAMPLERS: tuple[type[DenoiserSampler], ...] = (FlowEuler, FlowMultistep, *ODE_SAMPLERS)

END_WEIGHT = 8.0
"""The rate at which u-shaped times become denser towards both ends (Lee, Lin & Fanti 2024: 4)."""


def path_times(n: int, edge: float, generator: torch.Generator) -> Tensor:
    """`n` times in [edge, 1 - edge] in random order, one drawn uniformly from each of n equal parts."""
    return edge + (1 - 2 * edge) * shuffled(n, generator)


def u_shaped_times(n: int, edge: float, generator: torch.Generator) -> Tensor:
    """`n` times in [edge, 1 - edge] in random order, more of them near both ends, one in each of n equal parts.

    With u from 0 to 1 their density is proportional to exp(a u) + exp(a (1 - u)) with a = `END_WEIGHT`. Source: Lee,
    Lin & Fanti 2024, section 4.2.
    """
    u = 0.5 + ((2 * shuffled(n, generator) - 1) * math.sinh(END_WEIGHT / 2)).asinh() / END_WEIGHT
    return edge + (1 - 2 * edge) * u


def flow_matching_loss(denoise: Denoiser, x: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """E|v(x_s, s) - (x - z)|^2 on x_s = (1 - s) z + s x (Lipman et al. 2023, eq. 23), per coordinate; `share` is s.

    The squared error of the velocity is (1 + sigma)^2 times the `noise_residual` of the denoiser.
    """
    sigma = (1 - share) / share
    return ((1 + sigma) ** 2 * noise_residual(denoise, x, noise, sigma)).mean() / x[0].numel()


def interpolant_loss(
    denoise: Denoiser, x: Tensor, noise: Tensor, t: Tensor, path: Diffusion, weight: Tensor | float = 1.0
) -> Tensor:
    """E|v(x_t, t) - dx_t/dt|^2 along a path x_t = alpha (x + sigma z), per coordinate, at times `t` of `path`.

    The squared error of the velocity is (alpha dsigma/dt)^2 = (g^2 / (2 alpha sigma))^2 times the `noise_residual`.
    `weight` is that of each point, by how the times were drawn.
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    rate = path.squared_diffusion(t) / (2 * alpha * sigma)
    return (weight * rate**2 * noise_residual(denoise, x, noise, sigma)).mean() / x[0].numel()


class PathConfig(trilemma.Config):
    """Options of the path between noise and data."""

    edge: float = Field(
        1e-3, gt=0, lt=0.5, description="share of the time at each end that training and sampling leave out"
    )


class InterpolantOptions(PathConfig):
    """Options of the path between noise and data, one of the stochastic interpolants from noise to data."""

    path: Literal["linear", "trigonometric"] = Field(
        "linear", description="path from noise z to data x: linear, (1 - s) z + s x, or trigonometric, on a quarter arc"
    )
    latent: float = Field(
        0.0, ge=0, description="for linear: a of the noise sqrt(a s (1 - s)) that is added along the path; 0 is none"
    )

    def interpolant(self) -> Diffusion:
        """The diffusion with the marginals of the path."""
        if self.path == "trigonometric":
            return TrigonometricPath(self.edge)
        return StraightPath(self.edge, self.latent)

    def times(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | float]:
        """`n` times from 0 to 1 along the path, and the weights of their losses.

        With `latent` noise, the squared velocity is infinite at the data, as 1/(1 - s). Times are then squares of even
        draws, with twice their root as the weight, which is the inverse of their density.
        """
        share = shuffled(n, generator)
        return (share**2, 2 * share) if self.latent else (share, 1.0)

    @model_validator(mode="after")
    def _noise_of_linear(self) -> Self:
        if self.latent and self.path != "linear":
            raise ValueError("the option 'latent' is for the path 'linear'")
        return self


class FlowMatching(OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """Conditional flow matching along straight paths (Lipman et al. 2023), with an MLP on vectors.

    With the options `path` and `latent` and the sampler `flow-sde` it is a stochastic interpolant from noise to data
    (Albergo, Boffi & Vanden-Eijnden 2023, one-sided interpolants).

    Deviations from the papers: sigma_min is 0, and in its place a share `edge` of the time is left out at both ends
    (with `latent`, the square of it at the data, and times near the data are drawn more often, with weights).
    The network sees ln(sigma)/4 in place of the time. Times are stratified over a batch. Interpolants between two data
    distributions are not there, and with `latent` both noises are one in the loss, which has the same minimum. The
    first sampler takes Euler steps, where Lipman et al. solve the ODE adaptively (`dormand-prince` here).
    """

    name = "flow-matching"
    samplers = (*FLOW_SAMPLERS, FlowSde)

    class Config(InterpolantOptions, MLPConfig):
        """Options of the network and of the path."""

    def build(self, info: trilemma.DataInfo) -> None:
        trigonometric = self.config.path == "trigonometric"
        self.diffusion = self.config.interpolant()
        parametrization = Preconditioned if trigonometric else VelocityPrediction
        self.denoiser = parametrization(self.config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss of points and independent noise."""
        noise = standard_normal(x, ctx.generator)
        if self.config.path == "linear" and not self.config.latent:
            share = path_times(len(x), self.config.edge, ctx.generator)
            return flow_matching_loss(self.denoiser, x, noise, share)
        t, weight = self.config.times(len(x), ctx.generator)
        return interpolant_loss(self.denoiser, x, noise, t, self.diffusion, weight)
