"""The mathematics of Sobolev descent: the critic's objective, birth and death of particles, and the discrepancy."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]
"""Points `(n, *shape)` to values `(n,)`."""


def values_and_gradients(critic: Critic, x: Tensor, *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """f(x_i), shape `(n,)`, and the gradient of f at each point, of the shape of `x`.

    The gradient of the sum is that of each value by itself, as no value depends on another point. `differentiable`:
    with respect to the critic's parameters.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = critic(x)
        gradients = torch.autograd.grad(values.sum(), x, create_graph=differentiable)[0]
    return (values, gradients) if differentiable else (values.detach(), gradients)


def sobolev_constraint(values: Tensor, gradients: Tensor, alpha: float) -> Tensor:
    """C = E_q|grad f|^2 + alpha Var_q f - 1, from f and its gradient at the particles.

    Sources: Mroueh, Sercu & Raj 2019, eq. 3 (alpha = 0); Mroueh & Rigotti 2020, section 3.
    """
    squared = gradients.square().flatten(1).sum(1)
    return squared.mean() + alpha * values.var(correction=0) - 1


def augmented_lagrangian(gap: Tensor, constraint: Tensor, multiplier: Tensor, rho: float) -> Tensor:
    """What the critic maximises: (E_p f - E_q f) - lambda C - rho C^2 / 2."""
    return gap - multiplier * constraint - rho / 2 * constraint.square()


def birth_death(x: Tensor, values: Tensor, time: float, generator: torch.Generator) -> Tensor:
    """Particles `(n, *shape)` after births and deaths for `time` at the rates f - mean f; there are as many as before.

    Those with a positive rate are doubled and those with a negative one die, with probability 1 - exp(-time |rate|).
    The number is restored by dropping or doubling particles uniformly at random (Rotskoff et al. 2019, as in Mroueh &
    Rigotti 2020, algorithm 1).
    """
    rates = values - values.mean()
    chance = torch.rand(len(x), generator=generator, device=x.device)
    happens = chance < -(-time * rates.abs()).expm1()
    copies = torch.ones_like(rates, dtype=torch.long) + torch.where(rates > 0, 1, -1) * happens
    kept = torch.arange(len(x), device=x.device).repeat_interleave(copies)
    if len(kept) == 0:
        return x
    kept = kept[torch.randperm(len(kept), generator=generator, device=x.device)]
    if len(kept) < len(x):
        again = torch.randint(len(kept), (len(x) - len(kept),), generator=generator, device=x.device)
        kept = torch.cat([kept, kept[again]])
    return x[kept[: len(x)]]


def mmd(x: Tensor, y: Tensor, width: float) -> float:
    """Maximum mean discrepancy of two sets, the biased estimate (Gretton et al. 2012, eq. 5): never negative.

    The kernel is the mean of Gaussians of widths `width` x (1/4, 1/2, 1, 2, 4). Unlike the unbiased estimate, it has a
    floor above 0 for equal laws, which falls as the root of the number of points.
    """

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        """One exponential for the widest Gaussian; halving the width takes the fourth power."""
        power = (torch.cdist(a.flatten(1), b.flatten(1)).square() / (-2 * (4 * width) ** 2)).exp()
        total = power
        for _ in range(4):
            power = power**4
            total = total + power
        return float(total.double().mean()) / 5

    return math.sqrt(max(0.0, mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)))


def median_distance(x: Tensor) -> float:
    """Median distance between points `(n, *shape)`."""
    return float(torch.pdist(x.flatten(1)).median())
