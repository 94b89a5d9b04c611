"""Samplers that solve the probability-flow ODE over noise levels, with their options."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.dormand_prince import dormand_prince, record_evaluations
from .denoiser import Denoiser, DenoiserSampler, probability_flow, to_variance_exploding
from .ode import Churn, ddim, dpm_solver_2m, euler_angle, heun, heun_angle, midpoint
from .schedules import Diffusion, geometric_grid, rho_grid

PURE_NOISE = 500.0
"""Above this noise level a point is practically pure noise, and solvers need no steps."""


def below_pure_noise(grid: Callable[[int, float], Tensor], steps: int, sigma_max: float) -> Tensor:
    """The noise levels `grid(steps, sigma_max)`. If `sigma_max` is pure noise, the first step goes to 80 at once."""
    if sigma_max <= PURE_NOISE or steps < 2:
        return grid(steps, sigma_max)
    return torch.cat([torch.tensor([sigma_max], dtype=torch.float64), grid(steps - 1, 80.0)])


class RhoGrid(trilemma.Config):
    """Options of a sampler over the rho grid of noise levels (Karras et al. 2022, eq. 5)."""

    steps: int = Field(18, ge=1, description="number of noise levels in the grid")
    sigma_min: float = Field(0.002, gt=0, description="lowest noise level, not below that of the diffusion")
    rho: float = Field(
        7.0, gt=0, description="exponent of the grid: a larger one puts more noise levels near sigma_min"
    )

    def grid(self, diffusion: Diffusion) -> Tensor:
        """The noise levels, falling from the largest noise level of the diffusion."""
        lowest = diffusion.lowest_of(self.sigma_min)
        return below_pure_noise(
            lambda steps, highest: rho_grid(steps, lowest, highest, self.rho), self.steps, diffusion.sigma_max
        )


class Heun(RhoGrid, DenoiserSampler):
    """Heun's method for the probability-flow ODE (Karras et al. 2022, algorithm 1), with 2 steps - 1 evaluations.

    As in the paper it steps in sigma. As for all samplers here, the start has the variance 1 + sigma_max^2 of noised
    data of unit variance (paper: sigma_max^2), and sigma_max is that of the diffusion (paper: 80).
    """

    name = "heun"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return heun(denoise, noise, self.grid(diffusion), show=ctx.show)


class HeunAngle(RhoGrid, DenoiserSampler):
    """Heun's method over the angle arctan(sigma), in variance-preserving coordinates, with 2 steps - 1 evaluations.

    It is no method of a paper. With the exact denoiser of `ring8` and a start at 40, its mean distance from the exact
    end of the flow is 0.063 with 15 evaluations and 0.005 with 35; for `heun` it is 0.216 and 0.021.
    """

    name = "heun-angle"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return heun_angle(denoise, noise, self.grid(diffusion), show=ctx.show)


class StochasticHeun(RhoGrid, DenoiserSampler):
    """Heun's method with noise added back at every step (Karras et al. 2022, algorithm 2): 2 steps - 1 evaluations.

    It starts like `heun`. The paper tunes the options of the noise for each data set. The default adds as much noise in
    a step as S_churn = 30 in 256 steps, the choice of the paper for CIFAR-10.
    """

    name = "heun-churn"
    churn: float = Field(2.0, ge=0, description="S_churn, how much noise is added back over all steps")
    churn_min: float = Field(0.05, ge=0, description="S_tmin, the lowest noise level at which noise is added")
    churn_max: float = Field(50.0, gt=0, description="S_tmax, the largest noise level at which noise is added")
    inflation: float = Field(1.0, gt=0, description="S_noise, the factor on the standard deviation of the added noise")

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        churn = Churn(self.churn, self.churn_min, self.churn_max, self.inflation)
        return heun(denoise, noise, self.grid(diffusion), churn, ctx.generator, show=ctx.show)


class Euler(RhoGrid, DenoiserSampler):
    """Euler's method for dx/dsigma = (x - D)/sigma (Karras et al. 2022, algorithm 1 without its second order).

    It is DDIM (Song, Meng & Ermon 2021) on the rho grid, with `steps` evaluations. It starts like `heun`.
    """

    name = "euler"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return ddim(denoise, noise, self.grid(diffusion), show=ctx.show)


class EulerAngle(RhoGrid, DenoiserSampler):
    """Euler's method over the angle arctan(sigma), in variance-preserving coordinates, with `steps` evaluations.

    It is no method of a paper. With the exact denoiser of `ring8` and a start at 40, its mean distance from the exact
    end of the flow is 0.039 with 15 evaluations and 0.015 with 35; for `euler` it is 0.082 and 0.033.
    """

    name = "euler-angle"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return euler_angle(denoise, noise, self.grid(diffusion), show=ctx.show)


class Midpoint(RhoGrid, DenoiserSampler):
    """The explicit midpoint method for the probability-flow ODE over arctan(sigma), with 2 steps - 1 evaluations."""

    name = "midpoint"

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return midpoint(denoise, noise, self.grid(diffusion), show=ctx.show)


class DpmSolver2M(DenoiserSampler):
    """DPM-Solver++(2M), a second-order multistep method (Lu et al. 2022b), with `steps` evaluations.

    The logarithms of the noise levels are evenly spaced, as in the paper. The last step is one evaluation of the
    denoiser. The lowest noise level is higher than in
    Heun's method, because this gave better samples on ring8 and grid25 with 15 evaluations, by W2, by the width of
    modes and by the share of samples near a mode.
    """

    name = "dpm-solver++2m"
    steps: int = Field(18, ge=1, description="number of noise levels in the grid")
    sigma_min: float = Field(0.015, gt=0, description="lowest noise level, not below that of the diffusion")

    def grid(self, diffusion: Diffusion) -> Tensor:
        """The noise levels, falling in a constant ratio from the largest noise level of the diffusion."""
        lowest = diffusion.lowest_of(self.sigma_min)
        return below_pure_noise(
            lambda steps, highest: geometric_grid(steps, lowest, highest), self.steps, diffusion.sigma_max
        )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        return dpm_solver_2m(denoise, noise, self.grid(diffusion), show=ctx.show)


class DormandPrince(DenoiserSampler):
    """The adaptive Dormand-Prince method for the probability-flow ODE (Song et al. 2021, section 4.3).

    It solves over the angle arctan(sigma) in variance-preserving coordinates (paper: over time), with tolerances of
    1e-3 (paper: 1e-5). The step size is chosen for each sample (paper: for a batch). The details hold the mean and the
    largest number of evaluations per sample.
    """

    name = "dormand-prince"
    shows_chain = False  # each sample is at a noise level of its own
    rtol: float = Field(1e-3, gt=0, description="relative tolerance")
    atol: float = Field(1e-3, gt=0, description="absolute tolerance")
    sigma_min: float = Field(
        0.002,
        gt=0,
        description="noise level at which the solver stops, not below that of the diffusion, before a last step that "
        "denoises",
    )

    def draw(self, denoise: Denoiser, noise: Tensor, diffusion: Diffusion, ctx: trilemma.Context) -> Tensor:
        lowest = diffusion.lowest_of(self.sigma_min)
        angles = torch.tensor([diffusion.sigma_max, lowest], dtype=torch.float64).atan().tolist()
        end, evaluations = dormand_prince(
            lambda u, angle: probability_flow(denoise, u, angle.tan().to(u)),
            noise,
            *angles,
            rtol=self.rtol,
            atol=self.atol,
        )
        record_evaluations(ctx, evaluations + 1)
        sigma = torch.tensor(lowest).to(noise)
        return denoise(to_variance_exploding(end, sigma), sigma)


ODE_SAMPLERS: tuple[type[DenoiserSampler], ...] = (
    Heun,
    HeunAngle,
    Euler,
    EulerAngle,
    Midpoint,
    DpmSolver2M,
    DormandPrince,
)
