"""The mass of a density, by importance sampling with kernels around samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_KERNELS = ((0.06, 0.45), (0.2, 0.45))
"""Standard deviations of the kernels around samples, in standardized data, and the shares of points from them."""
_FAR = 3.0
"""The standard deviation of the rest of the points, which are drawn around 0."""
_OVERFLOW = 700.0  # nats, of a mass that is larger than any floating-point number
_AT_A_TIME = 3000  # points whose distances to all samples are in memory


@dataclass(frozen=True)
class WeighedMass:
    """The logarithm of a mass (nats), its relative standard error, and the points (k, d) where the density is +inf."""

    log: float
    relative_error: float
    infinite: Tensor

    @property
    def mass(self) -> float:
        return math.exp(self.log) if self.log < _OVERFLOW else math.inf

    @property
    def error(self) -> float:
        return self.mass * self.relative_error


def weighed_mass(log_density: Callable[[Tensor], Tensor], samples: Tensor, n: int) -> WeighedMass:
    """The integral of a density by importance sampling: the mean of p / q over `n` points from q.

    q is a mixture of normal distributions around `samples` (m, d) and a broad one. Unlike a grid, it sees peaks that
    are narrower than any cell, if they are around samples. Away from the samples only the broad part has points, a
    tenth of all: mass there is mostly found too small, with too small an error, and mass more than about 10 from 0 is
    not seen. A density counts as 0 where it is NaN.
    """
    generator = torch.Generator().manual_seed(17)
    centers = samples.double()
    sizes = [int(share * n) for _, share in _KERNELS]
    noise = torch.randn((n, centers.shape[1]), generator=generator, dtype=torch.float64)
    rows = torch.randint(len(centers), (n,), generator=generator)
    widths = torch.full((n, 1), _FAR, dtype=torch.float64)
    widths[: sum(sizes), 0] = (
        torch.tensor([width for width, _ in _KERNELS]).double().repeat_interleave(torch.tensor(sizes))
    )
    x = torch.where(widths < _FAR, centers[rows], 0.0) + widths * noise
    parts = [
        math.log(size / n) + _log_kernels(x, centers, width) for (width, _), size in zip(_KERNELS, sizes, strict=True)
    ]
    parts.append(math.log(1 - sum(sizes) / n) + _log_normal(x.square().sum(1), _FAR, centers.shape[1]))
    logs = log_density(x).double() - torch.stack(parts).logsumexp(0)
    logs = logs.masked_fill(logs.isnan(), -torch.inf)
    infinite = x[logs == torch.inf]
    if len(infinite):
        return WeighedMass(math.inf, math.nan, infinite)
    highest = logs.max().clamp_min(torch.finfo(torch.float64).min)
    weights = (logs - highest).exp()  # no weight overflows, whatever the density
    mean = float(weights.mean())
    if mean == 0:
        return WeighedMass(-math.inf, 0.0, infinite)
    return WeighedMass(float(highest) + math.log(mean), float(weights.std()) / mean / math.sqrt(n), infinite)


def _log_kernels(x: Tensor, centers: Tensor, width: float) -> Tensor:
    """The log-density of an equal mixture of normal distributions around `centers`, `(n,)`."""
    logs = [
        _log_normal(torch.cdist(part, centers).square(), width, centers.shape[1]).logsumexp(1)
        for part in torch.split(x, _AT_A_TIME)
    ]
    return torch.cat(logs) - math.log(len(centers))


def _log_normal(squares: Tensor, width: float, d: int) -> Tensor:
    """The log-density of an isotropic normal distribution in `d` dimensions at these squared distances."""
    return -squares / (2 * width**2) - d * math.log(width * math.sqrt(2 * math.pi))
