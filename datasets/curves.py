"""Distributions on a curve with Gaussian noise."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .planar import PlanarDistribution
from .quadrature import Box

_ROWS = 8_192  # points per block of the (points, nodes) table, which then fits in a processor cache


@lru_cache(maxsize=8)
def gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (count,), float64, of the Gauss-Legendre rule for averages over (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def smoothed_log_prob(x: Tensor, nodes: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """log sum_k weights[k] N(x; nodes[k], sigma^2 I), shape (n,), for x (n, 2) and nodes (k, 2).

    With the nodes and weights of a quadrature rule along a curve, this is the density of the curve with noise. The rule
    converges geometrically once the nodes are closer than sigma.
    """
    x, heights = x.double(), weights.log() - nodes.square().sum(1) / (2 * sigma**2)
    parts = [torch.logsumexp(torch.addmm(heights, part, nodes.mT / sigma**2), 1) for part in torch.split(x, _ROWS)]
    return torch.cat(parts) - x.square().sum(1) / (2 * sigma**2) - math.log(2 * math.pi * sigma**2)


def moon_curve(t: Tensor, lower: Tensor) -> Tensor:
    """Points (n, 2) on the two half circles at t in (0, 1), scaled and centered as in FFJORD."""
    x, y = torch.cos(math.pi * t), torch.sin(math.pi * t)
    upper_moon = torch.stack([x, y], -1)
    lower_moon = torch.stack([1 - x, 0.5 - y], -1)
    return 2 * torch.where(lower.unsqueeze(-1), lower_moon, upper_moon) + torch.tensor([-1.0, -0.2], dtype=t.dtype)


class Moons(PlanarDistribution):
    """Two interleaved half circles with Gaussian noise, doubled and centered as in FFJORD.

    The angles are independent uniform draws. scikit-learn's `make_moons` instead uses a regular grid.
    """

    name = "moons"
    title = "Two moons (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Noise of the moons."""

        noise: float = Field(0.1, ge=0.02, description="noise around half circles of radius 1, before the doubling")

    @property
    def smoothness(self) -> float:
        return 2.0 * float(self.config.noise)

    @property
    def box(self) -> Box:
        margin = 9 * self.smoothness
        return Box((-3 - margin, -1.2 - margin), (3 + margin, 1.8 + margin))

    @cached_property
    def _rule(self) -> tuple[Tensor, Tensor]:
        t, weights = gauss_legendre(64 + round(2 * math.pi * 2 / self.smoothness))
        lower = torch.arange(2).repeat_interleave(len(t)) == 1
        return moon_curve(t.repeat(2), lower), weights.repeat(2) / 2

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        t = torch.rand(n, generator=generator, dtype=torch.float64)
        lower = torch.rand(n, generator=generator) < 0.5
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return (moon_curve(t, lower) + self.smoothness * noise).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return smoothed_log_prob(x, *self._rule, self.smoothness)


def roll_curve(t: Tensor) -> Tensor:
    """Points (n, 2) on the Swiss roll at t in (0, 1), seen from the side and divided by 5."""
    angle = 1.5 * math.pi * (1 + 2 * t)
    return torch.stack([angle * angle.cos(), angle * angle.sin()], -1) / 5


class SwissRoll(PlanarDistribution):
    """A spiral of one and a half turns with Gaussian noise: two coordinates of the Swiss roll over 5, as in FFJORD."""

    name = "swissroll"
    title = "Swiss roll (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Noise of the roll."""

        noise: float = Field(1.0, ge=0.2, description="noise around the roll, before it is divided by 5")

    @property
    def smoothness(self) -> float:
        return float(self.config.noise) / 5

    @property
    def box(self) -> Box:
        reach = 0.9 * math.pi + 9 * self.smoothness
        return Box((-reach, -reach), (reach, reach))

    @cached_property
    def _rule(self) -> tuple[Tensor, Tensor]:
        t, weights = gauss_legendre(32 + round(2 * 18 / self.smoothness))
        return roll_curve(t), weights

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        t = torch.rand(n, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return (roll_curve(t) + self.smoothness * noise).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return smoothed_log_prob(x, *self._rule, self.smoothness)
