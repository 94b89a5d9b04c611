"""Two spirals with uniform and Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .curves import gauss_legendre
from .planar import PlanarDistribution
from .quadrature import Box

_ROWS = 1_000  # points per group of neighbors
_TURN = 3 * math.pi  # angle at the end of an arm


def spiral_arm(t: Tensor) -> Tensor:
    """Points (n, 2) on one arm at t in (0, 1), over 3, evenly spaced in length except in the innermost turn."""
    angle = _TURN * t.sqrt()
    return torch.stack([-angle * angle.cos(), angle * angle.sin()], -1) / 3


def box_gauss(distance: Tensor, width: float, sigma: float) -> Tensor:
    """Density of a sum of U(-width/2, width/2) and N(0, sigma^2) at `distance`, without cancellation in the tails."""
    far, scale = distance.abs(), math.sqrt(2) * sigma
    tails = torch.erfc((far - width / 2) / scale) - torch.erfc((far + width / 2) / scale)
    return tails / (2 * width)


def box_gauss_log(distance: Tensor, width: float, sigma: float) -> Tensor:
    """The logarithm of `box_gauss`, for distances at which `box_gauss` underflows."""
    far = distance.abs()
    near_edge: Tensor = torch.special.log_ndtr(-(far - width / 2) / sigma)
    far_edge = torch.special.log_ndtr(-(far + width / 2) / sigma)
    return near_edge + torch.log1p(-torch.exp(far_edge - near_edge)) - math.log(width)


def neighborhoods(x: Tensor, nodes: Tensor, margin: float, reach: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Split the points (n, 2) into groups of neighbors. Yields pairs (rows of a group, mask of the nodes it needs).

    A node may be left out if (distance - margin)^2 > (D + margin)^2 + reach^2 for every point of the group, where D is
    the distance of the point from its nearest node.
    """
    strips = max(1, round(math.sqrt(len(x) / _ROWS)))
    for strip in x[:, 0].argsort().tensor_split(strips):
        for rows in strip[x[strip, 1].argsort()].tensor_split(strips):
            low, high = x[rows].amin(0), x[rows].amax(0)
            nearest = (low - nodes).clamp(min=0).maximum(nodes - high).norm(dim=1)
            farthest = (nodes - low).abs().maximum((nodes - high).abs()).norm(dim=1)
            limit = math.sqrt((float(farthest.min()) + margin) ** 2 + reach**2) + margin
            yield rows, nearest <= limit


class TwoSpirals(PlanarDistribution):
    """Two spiral arms with uniform and Gaussian noise, as in FFJORD.

    The uniform noise is on (0, 1/6)^2, and on its mirror image for the second arm. The Gaussian noise has standard
    deviation 0.1.
    """

    name = "2spirals"
    title = "Two spirals (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Noise of the spirals."""

        width: float = Field(0.5 / 3, gt=0, description="side of the square of the uniform noise")
        sigma: float = Field(0.1, ge=0.03, description="standard deviation of the Gaussian noise")

    @property
    def smoothness(self) -> float:
        return float(self.config.sigma)

    @property
    def box(self) -> Box:
        reach = math.pi + self.config.width + 9 * self.smoothness
        return Box((-reach, -reach), (reach, reach))

    @cached_property
    def _rule(self) -> tuple[Tensor, Tensor]:
        """Nodes and weights of a quadrature rule along both arms. Nodes are the centers of the squares of noise.

        The rule is in the square root of t, in which the arm is analytic.
        """
        s, weights = gauss_legendre(64 + round(30 / self.smoothness))
        middles = spiral_arm(s.square()) + self.config.width / 2
        return torch.cat([middles, -middles]), (s * weights).repeat(2)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        t = torch.rand(n, generator=generator, dtype=torch.float64)
        square = self.config.width * torch.rand(n, 2, generator=generator, dtype=torch.float64)
        sign = 2.0 * torch.randint(2, (n, 1), generator=generator) - 1
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        x: Tensor = sign * (spiral_arm(t) + square) + self.smoothness * noise
        return x.float()

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.double()
        nodes, weights = self._rule
        log_p = torch.empty(len(x), dtype=torch.float64)
        for rows, near in neighborhoods(x, nodes, self.config.width, 9 * self.smoothness):
            log_p[rows] = self._average(x[rows], nodes[near], weights[near])
        return log_p

    def _average(self, x: Tensor, nodes: Tensor, weights: Tensor) -> Tensor:
        """log sum_k weights[k] box_gauss(x - nodes[k]) over both coordinates."""
        shape = (float(self.config.width), self.smoothness)
        across, up = (box_gauss(x[:, i : i + 1] - nodes[:, i], *shape) for i in range(2))
        log_p = (across.mul_(up) @ weights).log()
        tiny = log_p < math.log(1e-250)
        if tiny.any():
            across, up = (box_gauss_log(x[tiny, i : i + 1] - nodes[:, i], *shape) for i in range(2))
            log_p[tiny] = (across + up + weights.log()).logsumexp(1)
        return log_p
