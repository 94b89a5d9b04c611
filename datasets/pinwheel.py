"""The pinwheel: Gaussian blades whose twist grows with the distance from the center."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .planar import PlanarDistribution
from .quadrature import Box

_CELLS = 48  # intervals in which the roots of one point are bracketed
_ITERATIONS = 12  # of the root finder, which converges faster than linearly from a narrow bracket
_REACH = 10.0  # standard deviations of the tangential coordinate over which roots are sought
_LAST_TWIST = 6.0  # radius, 16 deviations out, beyond which the twist is constant, so that nothing overflows


def twist(f0: Tensor, rate: float) -> Tensor:
    """The angle by which a point with radial coordinate f0 is rotated."""
    return rate * f0.clamp(max=_LAST_TWIST).exp()


def crossings(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The places where rows of `values` (n, m) cross whole numbers: row, left column and number of each crossing."""
    left, right = values[:, :-1], values[:, 1:]
    first = torch.minimum(left, right).ceil()
    count = (torch.maximum(left, right).ceil() - first).long()
    row, cell = count.nonzero(as_tuple=True)
    repeats = count[row, cell]
    row, cell = row.repeat_interleave(repeats), cell.repeat_interleave(repeats)
    nth = torch.arange(len(row)) - (repeats.cumsum(0) - repeats).repeat_interleave(repeats)
    return row, cell, first[row, cell] + nth


def bracketed_root(f: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """A root of each f between `low` and `high`, where f changes sign, by false position with the Illinois rule."""
    f_low, f_high = f(low), f(high)
    for _ in range(_ITERATIONS):
        middle = torch.where(f_high == f_low, low, (low * f_high - high * f_low) / (f_high - f_low))
        f_middle = f(middle)
        crossed = f_middle * f_high <= 0
        low = torch.where(crossed, high, low)
        f_low = torch.where(crossed, f_high, 0.5 * f_low)
        high, f_high = middle, f_middle
    return high


class Pinwheel(PlanarDistribution):
    """Five equally likely twisted blades, as in FFJORD.

    A point of a blade is f ~ N((1, 0), diag(0.3^2, 0.1^2)). It is rotated clockwise by the angle of the blade plus
    0.25 exp(f_0), and doubled.
    """

    name = "pinwheel"
    title = "Pinwheel (FFJORD)"
    citation = "Johnson et al. 2016, Composing graphical models with neural networks; Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Shape of the blades."""

        blades: int = Field(5, ge=1, description="number of blades")
        radial: float = Field(0.3, gt=0, le=0.5, description="standard deviation along a blade, before the doubling")
        tangential: float = Field(0.1, ge=0.03, description="standard deviation across a blade, before the doubling")
        rate: float = Field(0.25, ge=0, le=1, description="twist of the blades")

    @property
    def smoothness(self) -> float:
        return float(self.config.tangential)

    @property
    def box(self) -> Box:
        reach = 2 * math.hypot(1 + 7 * self.config.radial, 7 * self.config.tangential)
        return Box((-reach, -reach), (reach, reach))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        c = self.config
        blade = torch.randint(c.blades, (n,), generator=generator)
        f0, f1 = torch.randn(2, n, generator=generator, dtype=torch.float64)
        f0, f1 = 1 + c.radial * f0, c.tangential * f1
        angle = blade * (2 * math.pi / c.blades) + twist(f0, c.rate)
        cos, sin = angle.cos(), angle.sin()
        return (2 * torch.stack([f0 * cos + f1 * sin, f1 * cos - f0 * sin], 1)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density `(n,)`, by the change of variables, as a sum over all points f that are mapped to x.

        With polar coordinates (r, psi) of x / 2, they are f = r (cos phi, sin phi), where phi - twist(f_0) = psi modulo
        the angles of the blades. The roots phi are bracketed on a grid and then refined. Roots more than ten standard
        deviations across a blade are left out if there are nearer ones.
        """
        return torch.cat([self._block(part) for part in torch.split(x.double(), 65_536)])

    def _block(self, x: Tensor) -> Tensor:
        c, step = self.config, 2 * math.pi / int(self.config.blades)
        r = (x / 2).norm(dim=1)
        psi = torch.atan2(x[:, 1], x[:, 0])
        reach = (_REACH * c.tangential / r).clamp(max=1).asin()
        window = torch.where(r > _REACH * c.tangential, reach.clamp(min=math.pi / c.blades), math.pi)
        lines = torch.linspace(-1, 1, _CELLS + 1, dtype=torch.float64)

        def turns(phi: Tensor, r: Tensor, psi: Tensor) -> Tensor:
            """A function of phi that is a whole number at the roots."""
            return (phi - twist(r * phi.cos(), c.rate) - psi) / step

        values = turns(window.unsqueeze(1) * lines, r.unsqueeze(1), psi.unsqueeze(1))
        row, cell, target = crossings(values)
        low, high = window[row] * lines[cell], window[row] * lines[cell + 1]
        phi = bracketed_root(lambda phi: turns(phi, r[row], psi[row]) - target, low, high)
        f0, f1 = r[row] * phi.cos(), r[row] * phi.sin()
        log_jacobian = (1 + torch.where(f0 < _LAST_TWIST, f1 * twist(f0, c.rate), 0.0)).abs().log() + math.log(4)
        log_terms = (
            -0.5 * ((f0 - 1) / c.radial).square()
            - 0.5 * (f1 / c.tangential).square()
            - math.log(2 * math.pi * c.radial * c.tangential * c.blades)
            - log_jacobian
        )
        top = torch.full_like(r, -math.inf).scatter_reduce(0, row, log_terms, "amax")
        total = torch.zeros_like(r).index_add(0, row, (log_terms - top[row]).exp())
        return top + total.log()
