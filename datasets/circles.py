"""Distributions that are circles with Gaussian noise around them: the density is a Bessel function, in closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .planar import PlanarDistribution
from .quadrature import Box


class Circles(NamedTuple):
    """Equally likely circles with the noise around them."""

    centers: tuple[tuple[float, float], ...]
    radii: tuple[float, ...]
    sigma: float


def circles_sample(circles: Circles, n: int, generator: torch.Generator) -> Tensor:
    """`n` independent draws (n, 2), float64: a circle, a uniform angle on it, and noise."""
    label = torch.randint(len(circles.radii), (n,), generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    radius = torch.tensor(circles.radii, dtype=torch.float64)[label].unsqueeze(1)
    center = torch.tensor(circles.centers, dtype=torch.float64)[label]
    return center + radius * direction + circles.sigma * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def circles_log_prob(circles: Circles, x: Tensor) -> Tensor:
    """Log-density (n,): the mean over the circles of N(r; R, sigma^2 I) integrated over the angle,
    exp(-(r^2 + R^2) / 2 sigma^2) I_0(r R / sigma^2) / (2 pi sigma^2), r the distance from the circle's center.
    """
    variance = circles.sigma**2
    terms = []
    for center, radius in zip(circles.centers, circles.radii, strict=True):
        r = (x - torch.tensor(center, dtype=x.dtype)).norm(dim=1)
        bessel = torch.special.i0e(r * radius / variance).log()
        terms.append(bessel - (r - radius).square() / (2 * variance))
    return torch.stack(terms).logsumexp(0) - math.log(2 * math.pi * variance * len(terms))


class CirclesDistribution(PlanarDistribution):
    """Equally likely circles with Gaussian noise: give `circles`."""

    @property
    @abstractmethod
    def circles(self) -> Circles:
        """The circles."""

    @property
    def smoothness(self) -> float:
        return self.circles.sigma

    @property
    def box(self) -> Box:
        centers, radii, sigma = self.circles
        reach = max(radii) + 9 * sigma
        columns = list(zip(*centers, strict=True))
        return Box(
            (min(columns[0]) - reach, min(columns[1]) - reach),
            (max(columns[0]) + reach, max(columns[1]) + reach),
        )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return circles_sample(self.circles, n, generator).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return circles_log_prob(self.circles, x.double())


class ConcentricCircles(CirclesDistribution):
    """Circles around the origin: `radii` at scale 1, with `sigma` and `scale` in the Config."""

    radii: tuple[float, ...]

    @property
    def circles(self) -> Circles:
        radii = tuple(float(self.config.scale) * radius for radius in self.radii)
        return Circles(((0.0, 0.0),) * len(radii), radii, float(self.config.sigma))


class Rings(ConcentricCircles):
    """Four equally likely circles around the origin, radii 0.75, 1.5, 2.25 and 3, with noise, as in FFJORD.

    Circle and angle are independent uniform draws, where the FFJORD code takes equal counts on regular grids.
    """

    name = "rings"
    title = "Four rings (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"
    radii = (0.25, 0.5, 0.75, 1.0)

    class Config(trilemma.DistributionConfig):
        """Shape of the rings."""

        sigma: float = Field(0.08, gt=0, description="standard deviation of the noise, per coordinate")
        scale: float = Field(3.0, gt=0, description="radius of the outermost circle")


class TwoCircles(ConcentricCircles):
    """Two equally likely circles around the origin, radii 1.5 and 3, with noise, as in FFJORD.

    The angles are independent uniform draws, where scikit-learn's `make_circles` places them on a regular grid.
    """

    name = "circles"
    title = "Two circles (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"
    radii = (0.5, 1.0)

    class Config(trilemma.DistributionConfig):
        """Shape of the circles."""

        sigma: float = Field(0.24, gt=0, description="standard deviation of the noise, per coordinate")
        scale: float = Field(3.0, gt=0, description="radius of the outer circle")


class FourCircles(CirclesDistribution):
    """Four equally likely, interlocking circles around (+-1, +-1), as in the neural-spline-flow code."""

    name = "four-circles"
    title = "Four circles (neural spline flows)"
    citation = "Durkan et al. 2019, Neural spline flows"

    class Config(trilemma.DistributionConfig):
        """Shape of the circles."""

        radius: float = Field(2.0, gt=0, description="radius of each circle")
        sigma: float = Field(0.1, gt=0, description="standard deviation of the noise, per coordinate")

    @property
    def circles(self) -> Circles:
        centers = tuple((x, y) for x in (-1.0, 1.0) for y in (-1.0, 1.0))
        return Circles(centers, (float(self.config.radius),) * 4, float(self.config.sigma))
