"""Sets of particles: births and deaths, and the discrepancy of two sets."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def birth_death(x: Tensor, values: Tensor, time: float, generator: torch.Generator) -> Tensor:
    """Particles `(n, *shape)` after births and deaths at the rates f - mean f during `time`. Their number is unchanged.

    With probability 1 - exp(-time |rate|), a particle of positive rate is doubled and a particle of negative rate dies.
    Then particles are dropped or doubled uniformly at random until there are n again (Rotskoff et al. 2019, as in
    Mroueh & Rigotti 2020, algorithm 1).
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
    """Maximum mean discrepancy of two sets, by the biased estimate (Gretton et al. 2012, eq. 5), which is at least 0.

    The kernel is the mean of Gaussians of widths `width` x (1/4, 1/2, 1, 2, 4). For equal distributions the estimate is
    above 0, and it falls with the inverse square root of the number of points.
    """

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        """The mean of the Gaussians. Only the widest needs an exponential: half the width is the fourth power."""
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
