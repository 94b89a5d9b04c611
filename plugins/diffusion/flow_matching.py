"""Conditional flow matching along straight paths (Lipman et al. 2023), and the parts that its variants share.

The vector field is expressed as a denoiser (`VelocityPrediction`), so that flow matching uses the solvers and the
likelihood of diffusions. Euler's method in the time of the path is DDIM at the noise levels (1 - s)/s.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.mlp import MLPConfig
from ..networks.points import standard_normal, stratified
from .autoguidance import Guided
from .denoiser import Denoiser, DenoiserSampler, VelocityPrediction, noise_residual
from .likelihood import OdeDensity
from .model import Denoising
from .ode import ddim, dpm_solver_2m
from .ode_samplers import ODE_SAMPLERS
from .schedules import Diffusion, StraightPath


class FlowEuler(DenoiserSampler):
    """Euler's method for flow matching, with even steps in the time of the path and `steps` evaluations."""

    name = "flow-euler"
    steps: int = Field(20, ge=1, description="number of steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, path_noise_levels(self.steps, diffusion), show=ctx.show)


class FlowMultistep(DenoiserSampler):
    """DPM-Solver++(2M) for flow matching, with even steps in the time of the path and `steps` evaluations."""

    name = "flow-multistep"
    steps: int = Field(10, ge=1, description="number of steps from noise to data")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return dpm_solver_2m(denoise, noise, path_noise_levels(self.steps, diffusion), show=ctx.show)


def path_noise_levels(steps: int, diffusion: Diffusion) -> Tensor:
    """The noise levels at which `steps` even steps of time start, falling, float64."""
    return diffusion.sigma(1 - torch.arange(steps, dtype=torch.float64) / steps)


FLOW_SAMPLERS: tuple[type[DenoiserSampler], ...] = (FlowEuler, FlowMultistep, *ODE_SAMPLERS)


def path_times(n: int, edge: float, generator: torch.Generator) -> Tensor:
    """`n` times in [edge, 1 - edge] in random order, one drawn uniformly from each of n equal parts."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    return edge + (1 - 2 * edge) * stratified(n, generator)[order]


def flow_matching_loss(denoise: Denoiser, x: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """E|v(x_s, s) - (x - z)|^2 on x_s = (1 - s) z + s x (Lipman et al. 2023, eq. 23), per coordinate; `share` is s.

    The squared error of the velocity is (1 + sigma)^2 times the `noise_residual` of the denoiser.
    """
    sigma = (1 - share) / share
    return ((1 + sigma) ** 2 * noise_residual(denoise, x, noise, sigma)).mean() / x[0].numel()


class PathConfig(trilemma.Config):
    """Options of the path between noise and data."""

    edge: float = Field(1e-3, gt=0, lt=0.5, description="share of the time at each end that training leaves out")

    @property
    def highest(self) -> float:
        """The noise level at which sampling starts, which is about the largest in training."""
        return 1 / self.edge


class FlowMatching(OdeDensity, Denoising, Guided, trilemma.NeuralModel):
    """Conditional flow matching along straight paths (Lipman et al. 2023), with an MLP on vectors.

    Deviations from the paper: sigma_min is 0, and in its place a share `edge` of the time is left out at both ends. The
    network sees ln(sigma)/4 in place of the time. Times are stratified over a batch.
    """

    name = "flow-matching"
    samplers = FLOW_SAMPLERS

    class Config(PathConfig, MLPConfig):
        """Options of the network and of the path."""

    def build(self, info: trilemma.DataInfo) -> None:
        self.diffusion = StraightPath(self.config.highest)
        self.denoiser = VelocityPrediction(self.config.network(info))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The flow matching loss of points and independent noise."""
        noise = standard_normal(x, ctx.generator)
        return flow_matching_loss(self.denoiser, x, noise, path_times(len(x), self.config.edge, ctx.generator))
