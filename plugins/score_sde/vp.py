"""The variance-preserving score SDE (Song et al. 2021).

The denoiser works in variance-exploding coordinates x_t / a(t); the VP diffusion is a change of time over it.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.plugins.denoiser import Preconditioned, noise_residual, score, standard_normal
from trilemma.plugins.networks import NoiseConditionedMLP
from trilemma.plugins.ode_likelihood import OdeDensity, ode_log_prob
from trilemma.plugins.schedules import VariancePreserving, rho_grid
from trilemma.plugins.solvers import euler_maruyama, heun


class EulerMaruyama(trilemma.Sampler):
    """Euler-Maruyama steps of the reverse-time SDE, evenly spaced in time (Song et al. 2021, section 3)."""

    name = "euler-maruyama"
    steps: int = Field(100, ge=1, description="steps from time 1 down to eps")
    eps: float = Field(1e-3, gt=0, lt=1, description="time at which sampling stops")
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")


class Heun(trilemma.Sampler):
    """Heun's method for the probability-flow ODE on the rho grid of Karras et al. 2022: 2 steps - 1 evaluations."""

    name = "heun"
    steps: int = Field(18, ge=1, description="noise levels of the grid")
    rho: float = Field(7.0, gt=0, description="exponent of the grid: larger puts more levels at little noise")
    sigma_min: float = Field(0.002, gt=0, description="least noise level")


class VpSde(trilemma.NeuralModel):
    """Score-based diffusion by the variance-preserving SDE (Song et al. 2021), with an MLP denoiser on vectors."""

    name = "vp-sde"
    likelihood = "ode"
    samplers = (Heun, EulerMaruyama)
    recipe = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="cosine", ema=0.998)

    class Config(trilemma.Config):
        """The network and the diffusion."""

        hidden: tuple[int, ...] = Field((128, 128, 128), description="widths of the hidden layers")
        octaves: int = Field(3, ge=0, description="octaves of Fourier features of the point")
        dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the network")
        beta_min: float = Field(0.1, gt=0, description="beta at time 0")
        beta_max: float = Field(20.0, gt=0, description="beta at time 1")
        eps: float = Field(1e-5, gt=0, lt=1, description="least time seen in training")

    class Density(OdeDensity):
        """Options of the probability-flow likelihood."""

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.schedule = VariancePreserving(config.beta_min, config.beta_max)
        network = NoiseConditionedMLP(info.dim, config.hidden, octaves=config.octaves, dropout=config.dropout)
        self.denoiser = Preconditioned(network)

    @property
    def sigma_max(self) -> float:
        """The noise level at time 1."""
        return float(self.schedule.sigma(torch.ones((), dtype=torch.float64)))

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Denoising score matching, weighted by the variance of the perturbation (Song et al. 2021, eq. 7).

        A mean over points and coordinates; times are uniform in [eps, 1], one in each of `len(x)` equal parts.
        """
        strata = torch.arange(len(x), device=x.device) + torch.rand(len(x), generator=ctx.generator, device=x.device)
        times = self.config.eps + (1 - self.config.eps) * strata / len(x)
        noise = standard_normal(x, ctx.generator)
        return noise_residual(self.denoiser, x, noise, self.schedule.sigma(times)).mean() / ctx.info.dim

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        options = ctx.sampler
        if isinstance(options, EulerMaruyama):
            times = torch.linspace(1, options.eps, options.steps + 1, dtype=torch.float64)
            x = euler_maruyama(self.denoiser, noise, self.schedule, times, ctx.generator)
            x = x / self.schedule.scale(times[-1]).to(x)
            return self.denoiser(x, self.schedule.sigma(times[-1])) if options.denoise else x
        assert isinstance(options, Heun)
        sigmas = rho_grid(options.steps, options.sigma_min, self.sigma_max, options.rho)
        return heun(self.denoiser, noise, sigmas)

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        options = ctx.density
        assert isinstance(options, OdeDensity)
        values, details = ode_log_prob(self.denoiser, x, self.sigma_max, options, ctx.generator)
        ctx.details.update(details)
        return values

    @torch.no_grad()
    def score(self, x: Tensor, sigma: Tensor, ctx: trilemma.Context) -> Tensor:
        return score(self.denoiser, x, sigma)
