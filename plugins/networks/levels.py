"""The intensity levels of images in model space, and their dequantization by a truncated normal distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import trilemma

ROUNDING = 1e-5
"""How far outside the support a point may be by rounding to single precision, as a share of the support."""

INSIDE = 1e-3
"""Random points keep this distance from the ends of their level, in levels, so that rounding keeps the level."""

TRUNCATION = 3.0
"""tau, the half width of a level in standard deviations of the normal that is truncated to it (Zheng et al. 2023)."""


@dataclass(frozen=True)
class Levels:
    """`count` equal intervals of the width `width` from `low` on: the intensity levels of images in model space."""

    low: float
    width: float
    count: int

    @classmethod
    def of(cls, info: trilemma.DataInfo) -> Levels:
        """The levels of a dataset. Raises UnsupportedError for data without intensity levels."""
        if info.levels is None or info.support is None:
            raise trilemma.UnsupportedError(f"'{info.name}' has no intensity levels")
        low, high = info.support
        return cls(low, (high - low) / info.levels, info.levels)

    @property
    def centers(self) -> Tensor:
        """The middle of each level, `(count,)`, float64."""
        return self.low + self.width * (torch.arange(self.count, dtype=torch.float64) + 0.5)

    def index(self, x: Tensor) -> Tensor:
        """The number of the level of each coordinate of `x`, of its shape; the nearest one outside the support."""
        return ((x.double() - self.low) / self.width).floor().long().clamp(0, self.count - 1)

    def centered(self, x: Tensor) -> Tensor:
        """The points `x` with each coordinate moved to the middle of its level."""
        return (self.low + self.width * (self.index(x) + 0.5)).to(x)

    def spread(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Points that are uniform within the levels of the numbers `index`, of its shape, float32."""
        noise = torch.rand(index.shape, generator=generator, device=index.device)
        return self.low + self.width * (index + noise.clamp(INSIDE, 1 - INSIDE))

    def inside(self, x: Tensor) -> Tensor:
        """Whether all coordinates of the points `(n, *shape)` are in the support, `(n,)`."""
        share = ((x.double() - self.low) / (self.width * self.count)).flatten(1)
        return ((share > -ROUNDING) & (share < 1 + ROUNDING)).all(1)


def truncated_normal(x: Tensor, levels: Levels, tau: float = TRUNCATION) -> tuple[Tensor, Tensor]:
    """Map points that are uniform within each level to a truncated normal around its middle: `(y, log|det dy/dx|)`.

    The normal has the standard deviation width / (2 tau) and is truncated to the level. The map is monotone from each
    level to itself, and the identity outside the support. For a density p and uniform x in a level, the mean of
    log p(y) + log|det dy/dx| is therefore E[log p(y) - log q(y | level)] over the truncated normal q, up to the volume
    of a level. It bounds the log-probability of the level from below (Zheng et al. 2023, truncated-normal
    dequantization). `x` is `(n, *shape)`, and the log-determinant `(n,)`, float64.
    """
    index = levels.index(x)
    share = ((x.double() - levels.low) / levels.width - index).clamp(1e-7, 1 - 1e-7)
    mass = math.erf(tau / math.sqrt(2))
    z = math.sqrt(2) * torch.erfinv((2 * share - 1) * mass)
    y = levels.low + levels.width * (index + 0.5 + z / (2 * tau))
    slope = math.log(mass / (2 * tau)) + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)
    position = (x.double() - levels.low) / levels.width
    outside = (position < 0) | (position > levels.count)
    return torch.where(outside, x.double(), y).to(x), slope.masked_fill(outside, 0).flatten(1).sum(1)
