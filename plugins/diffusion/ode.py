"""Solvers for the probability-flow ODE over noise levels, and related samplers, as plain functions of a denoiser.

Each takes the state `u`, of shape `(n, *shape)`, and noise levels that fall from `sigmas[0]` to `sigmas[-1]`. `u` is in
variance-preserving coordinates u = x / sqrt(1 + sigma^2), in which it is standard normal if `sigmas[0]` is large. The
last step, from `sigmas[-1]` to 0, is one evaluation of the denoiser, which is an Euler step to 0. Each returns points
in the coordinates of the data. Vectors and images are treated in the same way. The state is shown in the coordinates u
at the start and after each step.

The ODE is dx/dsigma = (x - D)/sigma (Karras et al. 2022, eq. 3). Solvers named after papers step in sigma; those with
`angle` in their name step in phi = arctan(sigma) in the coordinates u, in which the flow of unit-variance data hardly
moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..networks.points import per_point, standard_normal
from .denoiser import Denoiser, Show, probability_flow, to_variance_exploding, to_variance_preserving, unseen


@dataclass(frozen=True)
class Churn:
    """How much noise is added back at every step (Karras et al. 2022, algorithm 2).

    `amount` is S_churn, which is divided among the steps. Noise is added only at noise levels in [`low`, `high`], which
    are S_tmin and S_tmax. `inflation` is S_noise.
    """

    amount: float
    low: float = 0.0
    high: float = float("inf")
    inflation: float = 1.0

    def apply(self, x: Tensor, sigma: Tensor, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The point and the noise level after noise has been added."""
        if not self.low <= float(sigma) <= self.high:
            return x, sigma
        higher = sigma * (1 + min(self.amount / steps, 2**0.5 - 1))
        return x + self.inflation * (higher**2 - sigma**2).sqrt().to(x) * standard_normal(x, generator), higher


def heun(
    denoise: Denoiser,
    u: Tensor,
    sigmas: Tensor,
    churn: Churn | None = None,
    generator: torch.Generator | None = None,
    *,
    show: Show = unseen,
) -> Tensor:
    """Heun's second-order method in sigma (Karras et al. 2022, algorithm 1; with `churn` and a generator, algorithm 2).

    Takes 2 len(sigmas) - 1 network evaluations.
    """
    show(0, u)
    x = to_variance_exploding(u, sigmas[0])

    def churned(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return (x, sigma) if churn is None or generator is None else churn.apply(x, sigma, len(sigmas), generator)

    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        x, higher = churned(x, sigma)
        step = (sigma_next - higher).to(x)
        slope = (x - denoise(x, higher)) / higher.to(x)
        ahead = x + step * slope
        slope_next = (ahead - denoise(ahead, sigma_next)) / sigma_next.to(x)
        x = x + step * (slope + slope_next) / 2
        show(k, to_variance_preserving(x, sigma_next))
    return _shown(denoise(*churned(x, sigmas[-1])), len(sigmas), show)


def _shown(end: Tensor, steps: int, show: Show) -> Tensor:
    """The end points, which have been shown."""
    show(steps, end)
    return end


def heun_angle(denoise: Denoiser, u: Tensor, sigmas: Tensor, *, show: Show = unseen) -> Tensor:
    """Heun's method over the angle arctan(sigma). Takes 2 len(sigmas) - 1 network evaluations."""
    show(0, u)
    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        step = (sigma_next.atan() - sigma.atan()).to(u)
        slope = probability_flow(denoise, u, sigma)
        slope_next = probability_flow(denoise, u + step * slope, sigma_next)
        u = u + step * (slope + slope_next) / 2
        show(k, u)
    return _shown(denoise(to_variance_exploding(u, sigmas[-1]), sigmas[-1]), len(sigmas), show)


def euler_angle(denoise: Denoiser, u: Tensor, sigmas: Tensor, *, show: Show = unseen) -> Tensor:
    """Euler's method over the angle arctan(sigma). Takes len(sigmas) network evaluations."""
    show(0, u)
    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        u = u + (sigma_next.atan() - sigma.atan()).to(u) * probability_flow(denoise, u, sigma)
        show(k, u)
    return _shown(denoise(to_variance_exploding(u, sigmas[-1]), sigmas[-1]), len(sigmas), show)


def midpoint(denoise: Denoiser, u: Tensor, sigmas: Tensor, *, show: Show = unseen) -> Tensor:
    """The explicit midpoint method over the angle arctan(sigma). Takes 2 len(sigmas) - 1 network evaluations."""
    show(0, u)
    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        step = (sigma_next.atan() - sigma.atan()).to(u)
        middle = ((sigma.atan() + sigma_next.atan()) / 2).tan()
        half = u + step / 2 * probability_flow(denoise, u, sigma)
        u = u + step * probability_flow(denoise, half, middle)
        show(k, u)
    return _shown(denoise(to_variance_exploding(u, sigmas[-1]), sigmas[-1]), len(sigmas), show)


def ddim_step(
    clean: Tensor,
    x: Tensor,
    sigma: Tensor,
    sigma_next: Tensor,
    eta: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Step from `x` at the noise level `sigma` to `sigma_next`, given x_0 = `clean`, `(n, *shape)`.

    The next point is D + sqrt(sigma_s^2 - v) (x_t - D) / sigma_t + sqrt(v) z with D = `clean` and
    v = eta^2 sigma_s^2 (1 - sigma_s^2 / sigma_t^2) (Song, Meng & Ermon 2021, eq. 12 and 16, in the coordinates
    x / alpha). With `eta` 1 the step draws from q(x_s | x_t, x_0 = D) (Ho et al. 2020, eq. 6 and 7). Noise levels have
    shape `()` or `(n,)`.
    """
    variance = eta**2 * sigma_next**2 * (1 - (sigma_next / sigma) ** 2)
    following = clean + per_point((sigma_next**2 - variance).sqrt() / sigma, x) * (x - clean)
    if eta > 0 and generator is not None:
        following = following + per_point(variance.sqrt(), x) * standard_normal(x, generator)
    return following


def ddim(
    denoise: Denoiser,
    u: Tensor,
    sigmas: Tensor,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    *,
    show: Show = unseen,
) -> Tensor:
    """DDIM (`eta` 0) and ancestral sampling (`eta` 1): each step uses the estimate of x_0 (`ddim_step`).

    DDIM is Euler's method for dx/dsigma = (x - D)/sigma. Takes len(sigmas) network evaluations.
    """
    show(0, u)
    x = to_variance_exploding(u, sigmas[0])
    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        x = ddim_step(denoise(x, sigma), x, sigma, sigma_next, eta, generator)
        show(k, to_variance_preserving(x, sigma_next))
    return _shown(denoise(x, sigmas[-1]), len(sigmas), show)


def dpm_solver_2m(denoise: Denoiser, u: Tensor, sigmas: Tensor, *, show: Show = unseen) -> Tensor:
    """DPM-Solver++(2M), the second-order multistep method (Lu et al. 2022b, algorithm 2).

    The method integrates exponentially over lambda = -ln(sigma) and extrapolates the denoiser from its last two values.
    Takes len(sigmas) network evaluations.
    """
    show(0, u)
    x = to_variance_exploding(u, sigmas[0])
    previous: tuple[Tensor, Tensor] | None = None
    for k, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        clean = denoise(x, sigma)
        step = (sigma / sigma_next).log()
        target = clean
        if previous is not None:
            last, last_step = previous
            target = clean + (step / (2 * last_step)).to(x) * (clean - last)
        x = (sigma_next / sigma).to(x) * x - torch.expm1(-step).to(x) * target
        previous = clean, step
        show(k, to_variance_preserving(x, sigma_next))
    return _shown(denoise(x, sigmas[-1]), len(sigmas), show)
