"""Equal mixtures of isotropic Gaussians at given points, in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**20  # pairs computed at a time: 8 MiB, which fits in a processor cache


def pair_exponents(x: Tensor, centers: Tensor) -> Iterator[Tensor]:
    """Yield -|x_i - c_j|^2 / 2 of points `x` (n, d) and `centers` (k, d), in blocks `(rows, k)`."""
    centers = centers.double()
    offset = -0.5 * centers.square().sum(1)
    for rows in torch.split(x.double(), max(1, BLOCK // len(centers))):
        yield torch.addmm(offset, rows, centers.T).sub_(0.5 * rows.square().sum(1, keepdim=True))


def log_kernel(exponents: Tensor, bandwidth: float, d: int) -> Tensor:
    """Log-density of the equal mixture of N(c_j, bandwidth^2 I) from its `pair_exponents` `(n, k)`."""
    largest = exponents.amax(1, keepdim=True)
    # Terms below exp(-100) of the largest vanish in double precision, and the exponential is slow on them.
    terms = ((exponents - largest) / bandwidth**2).clamp_min_(-100).exp_().sum(1)
    normalizer = math.log(exponents.shape[1]) + d / 2 * math.log(2 * math.pi * bandwidth**2)
    return terms.log() + largest.squeeze(1) / bandwidth**2 - normalizer


def kernel_log_prob(x: Tensor, centers: Tensor, bandwidth: float) -> Tensor:
    """Log-density in nats of the equal mixture of N(c_j, bandwidth^2 I) at each row of `x`, shape `(n,)`."""
    return torch.cat([log_kernel(block, bandwidth, x.shape[1]) for block in pair_exponents(x, centers)])


def sample_kernel(n: int, centers: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
    """Draw `n` points from the equal mixture of N(c_j, bandwidth^2 I), shape `(n, d)`."""
    chosen = torch.randint(len(centers), (n,), generator=generator, device=generator.device)
    points = centers.to(generator.device)[chosen]
    return points + bandwidth * torch.randn(points.shape, generator=generator, device=generator.device)
