"""The ways to draw from a trained denoiser, with their options: what diffusion models list as their samplers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.points import per_point
from .adaptive import dormand_prince, gotta_go_fast
from .denoiser import Denoiser, probability_flow
from .ode import Churn, ddim, dpm_solver_2m, heun, midpoint, to_variance_exploding
from .schedules import Diffusion, geometric_grid, rho_grid
from .sde import Update, euler_maruyama_step, predictor_corrector, reverse_diffusion_step

PURE_NOISE = 500.0
"""Noise level above which data is invisible: solvers need no steps there."""


class DenoiserSampler(trilemma.Sampler):
    """A sampler that needs no more than a denoiser and its diffusion."""

    @abstractmethod
    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        """Turn standard normal `noise` of shape `(n, *shape)` into samples."""


# Over noise levels


class GridSampler(DenoiserSampler):
    """A sampler over a grid of noise levels in a constant ratio, from the diffusion's largest."""

    steps: int = Field(18, ge=1, description="noise levels of the grid")
    sigma_min: float = Field(0.002, gt=0, description="least noise level")

    def grid(self, diffusion: Diffusion) -> Tensor:
        """The noise levels, falling. From pure noise (a noise level near infinity) the first step goes to 80."""
        top = diffusion.sigma_max
        if top <= PURE_NOISE or self.steps < 2:
            return self.levels(self.steps, top)
        return torch.cat([torch.tensor([top], dtype=torch.float64), self.levels(self.steps - 1, 80.0)])

    def levels(self, steps: int, highest: float) -> Tensor:
        """`steps` noise levels from the highest to the least."""
        return geometric_grid(steps, self.sigma_min, highest)


class RhoSampler(GridSampler):
    """A sampler over the rho grid of noise levels of Karras et al. 2022."""

    rho: float = Field(7.0, gt=0, description="exponent of the grid: larger puts more of it at little noise")

    def levels(self, steps: int, highest: float) -> Tensor:
        """`steps` noise levels from the highest to the least."""
        return rho_grid(steps, self.sigma_min, highest, self.rho)


class Heun(RhoSampler):
    """Heun's method for the probability-flow ODE on the rho grid of Karras et al. 2022: 2 steps - 1 evaluations."""

    name = "heun"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return heun(denoise, noise, self.grid(diffusion))


class StochasticHeun(RhoSampler):
    """Heun's method with noise added back at every step (Karras et al. 2022, algorithm 2): 2 steps - 1 evaluations."""

    name = "heun-churn"
    churn: float = Field(10.0, ge=0, description="S_churn, how much noise is added back over all steps")
    churn_min: float = Field(0.05, ge=0, description="S_tmin, the least noise level that gets noise")
    churn_max: float = Field(50.0, gt=0, description="S_tmax, the largest noise level that gets noise")
    inflation: float = Field(1.0, gt=0, description="S_noise, the deviation of the added noise")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        churn = Churn(self.churn, self.churn_min, self.churn_max, self.inflation)
        return heun(denoise, noise, self.grid(diffusion), churn, ctx.generator)


class Euler(RhoSampler):
    """Euler's method for dx/dsigma = (x - D)/sigma, which is DDIM on the rho grid: `steps` evaluations."""

    name = "euler"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, self.grid(diffusion))


class Midpoint(RhoSampler):
    """The explicit midpoint method for the probability-flow ODE: 2 steps - 1 evaluations."""

    name = "midpoint"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return midpoint(denoise, noise, self.grid(diffusion))


class DpmSolver2M(GridSampler):
    """DPM-Solver++(2M), second-order multistep (Lu et al. 2022): `steps` evaluations, evenly spaced in the logarithm of
    the noise level as in the paper.

    It stops at a higher noise level than Heun's method: with 15 evaluations better on ring8 and on grid25, by W2, the
    width of modes and the share of samples near one.
    """

    name = "dpm-solver++2m"
    sigma_min: float = Field(0.015, gt=0, description="least noise level")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return dpm_solver_2m(denoise, noise, self.grid(diffusion))


class DormandPrince(DenoiserSampler):
    """The adaptive Dormand-Prince method for the probability-flow ODE (Song et al. 2021, section 4.3).

    Steps are chosen for each sample. The mean and the largest number of evaluations are in the details.
    """

    name = "dormand-prince"
    rtol: float = Field(1e-3, gt=0, description="relative tolerance")
    atol: float = Field(1e-3, gt=0, description="absolute tolerance")
    sigma_min: float = Field(0.002, gt=0, description="noise level at which the ODE stops and a last step denoises")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        angles = torch.tensor([diffusion.sigma_max, self.sigma_min], dtype=torch.float64).atan().tolist()
        end, evaluations = dormand_prince(
            lambda u, angle: probability_flow(denoise, u, angle.tan().to(u)),
            noise,
            *angles,
            rtol=self.rtol,
            atol=self.atol,
        )
        record_evaluations(ctx, evaluations + 1)
        sigma = torch.tensor(self.sigma_min).to(noise)
        return denoise(to_variance_exploding(end, sigma), sigma)


# Over time


class TimeSampler(DenoiserSampler):
    """A sampler over evenly spaced times of the diffusion, from 1 to eps."""

    steps: int = Field(100, ge=1, description="steps from time 1 down to eps")
    eps: float = Field(1e-3, gt=0, lt=1, description="time at which sampling stops")
    denoise: bool = Field(True, description="whether a last step removes the remaining noise (one more evaluation)")

    def times(self) -> Tensor:
        """The times, falling."""
        return torch.linspace(1, self.eps, self.steps + 1, dtype=torch.float64)

    def finish(self, denoise: Denoiser, x: Tensor, diffusion: Diffusion) -> Tensor:
        """From the state at eps to a sample."""
        eps = torch.tensor(self.eps, dtype=torch.float64)
        x = x / diffusion.alpha(eps).to(x)
        return denoise(x, diffusion.sigma(eps).to(x)) if self.denoise else x


def start(noise: Tensor, diffusion: Diffusion) -> Tensor:
    """The state at time 1: data of unit variance under the marginal, taken to be normal."""
    one = torch.ones((), dtype=torch.float64)
    return to_variance_exploding(noise, diffusion.sigma(one)) * diffusion.alpha(one).to(noise)


class EulerMaruyama(TimeSampler):
    """Euler-Maruyama steps of the reverse-time SDE, evenly spaced in time (Song et al. 2021, section 3)."""

    name = "euler-maruyama"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        x = predictor_corrector(
            denoise,
            start(noise, diffusion),
            diffusion,
            self.times(),
            ctx.generator,
            predictor=euler_maruyama_step,
            corrector_steps=0,
        )
        return self.finish(denoise, x, diffusion)


class ReverseDiffusion(TimeSampler):
    """The reverse diffusion predictor alone (Song et al. 2021, appendix E)."""

    name = "reverse-diffusion"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        x = start(noise, diffusion)
        x = predictor_corrector(denoise, x, diffusion, self.times(), ctx.generator, corrector_steps=0)
        return self.finish(denoise, x, diffusion)


class PredictorCorrector(TimeSampler):
    """The reverse diffusion predictor, then Langevin corrections at every time (Song et al. 2021, appendix G)."""

    name = "predictor-corrector"
    predictor: ClassVar[Update | None] = reverse_diffusion_step
    corrector_steps: int = Field(1, ge=1, description="Langevin steps at every time")
    snr: float = Field(0.16, gt=0, description="signal-to-noise ratio of a Langevin step")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        x = predictor_corrector(
            denoise,
            start(noise, diffusion),
            diffusion,
            self.times(),
            ctx.generator,
            predictor=type(self).predictor,
            corrector_steps=self.corrector_steps,
            snr=self.snr,
        )
        return self.finish(denoise, x, diffusion)


class LangevinCorrector(PredictorCorrector):
    """Langevin corrections alone, at every time: no predictor (Song et al. 2021, table 1, `C2000`)."""

    name = "langevin-corrector"
    predictor: ClassVar[Update | None] = None


class Ancestral(DenoiserSampler):
    """Ancestral sampling and DDIM over evenly spaced times of the diffusion (Ho et al. 2020; Song et al. 2021).

    Takes `steps` evaluations: the last step is the denoiser's.
    """

    name = "ancestral"
    steps: int = Field(100, ge=1, description="times from 1 down to eps")
    eps: float = Field(1e-3, gt=0, lt=1, description="least time")
    eta: float = Field(1.0, ge=0, le=1, description="share of the posterior's deviation that is drawn: 0 is DDIM")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        times = torch.linspace(1, self.eps, self.steps, dtype=torch.float64)
        return ddim(denoise, noise, diffusion.sigma(times), self.eta, ctx.generator)


class GottaGoFast(DenoiserSampler):
    """The adaptive SDE solver of Jolicoeur-Martineau et al. 2021; steps are chosen for each sample.

    Two evaluations a step, both counted. The mean and the largest number are in the details.
    """

    name = "gotta-go-fast"
    rtol: float = Field(0.05, gt=0, description="relative tolerance")
    atol: float = Field(0.0078, gt=0, description="absolute tolerance")
    max_step: float = Field(1.0, gt=0, le=1, description="largest step")
    eps: float = Field(1e-3, gt=0, lt=1, description="time at which sampling stops and a last step denoises")
    memory: bool = Field(
        True, description="whether a refused step keeps its noise; the paper draws it anew, which widens the samples"
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        x = start(noise, diffusion)
        x, evaluations = gotta_go_fast(
            denoise,
            x,
            diffusion,
            ctx.generator,
            eps=self.eps,
            rtol=self.rtol,
            atol=self.atol,
            max_step=self.max_step,
            memory=self.memory,
        )
        record_evaluations(ctx, evaluations + 1)
        eps = torch.tensor(self.eps, dtype=torch.float64)
        return denoise(x / per_point(diffusion.alpha(eps), x), diffusion.sigma(eps).to(x))


def record_evaluations(ctx: trilemma.Context, evaluations: Tensor) -> None:
    """Note the mean and the largest number of evaluations over the samples drawn in this context."""
    drawn = ctx.details.get("drawn", 0)
    total = drawn + len(evaluations)
    mean = ctx.details.get("nfe_mean", 0.0) * drawn / total + float(evaluations.double().sum()) / total
    largest = max(ctx.details.get("nfe_max", 0), int(evaluations.max()))
    ctx.details.update(drawn=total, nfe_mean=mean, nfe_max=largest)


SDE_SAMPLERS: tuple[type[DenoiserSampler], ...] = (
    EulerMaruyama,
    ReverseDiffusion,
    PredictorCorrector,
    LangevinCorrector,
    Ancestral,
    GottaGoFast,
)
ODE_SAMPLERS: tuple[type[DenoiserSampler], ...] = (Heun, Euler, Midpoint, DpmSolver2M, DormandPrince)
