"""Distributions on circles with Gaussian noise. Their density has a closed form with a Bessel function."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .quadrature import Box, Estimate, EstimatedEntropy, planar_entropy


class Circles(NamedTuple):
    """Equally likely circles, with centers, radii and the standard deviation of the noise."""

    centers: tuple[tuple[float, float], ...]
    radii: tuple[float, ...]
    sigma: float

    @property
    def box(self) -> Box:
        """A rectangle outside which the density is negligible."""
        reach = max(self.radii) + 9 * self.sigma
        columns = list(zip(*self.centers, strict=True))
        return Box(
            (min(columns[0]) - reach, min(columns[1]) - reach),
            (max(columns[0]) + reach, max(columns[1]) + reach),
        )


def circles_sample(circles: Circles, n: int, generator: torch.Generator) -> Tensor:
    """Draw `n` independent points (n, 2), float64: a random circle, a uniform angle on it, and noise."""
    label = torch.randint(len(circles.radii), (n,), generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    radius = torch.tensor(circles.radii, dtype=torch.float64)[label].unsqueeze(1)
    center = torch.tensor(circles.centers, dtype=torch.float64)[label]
    return center + radius * direction + circles.sigma * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def circles_log_prob(circles: Circles, x: Tensor) -> Tensor:
    """Log-density (n,) of points (n, 2).

    The density is the mean over circles of exp(-(r^2 + R^2) / 2 sigma^2) I_0(r R / sigma^2) / (2 pi sigma^2), where R
    is the radius of the circle and r the distance of the point from its center. It is the noise density integrated over
    the angle.
    """
    variance = circles.sigma**2
    terms = []
    for center, radius in zip(circles.centers, circles.radii, strict=True):
        r = (x - torch.tensor(center, dtype=x.dtype)).norm(dim=1)
        bessel = torch.special.i0e(r * radius / variance).log()
        terms.append(bessel - (r - radius).square() / (2 * variance))
    return torch.stack(terms).logsumexp(0) - math.log(2 * math.pi * variance * len(terms))


class CirclesDistribution(EstimatedEntropy, trilemma.Distribution):
    """Base class of distributions on equally likely circles with Gaussian noise. The Config gives the `circles`."""

    @cached_property
    def circles(self) -> Circles:
        """The circles."""
        circles: Circles = self.config.circles()
        return circles

    @cached_property
    def entropy_estimate(self) -> Estimate:
        return planar_entropy(self.log_prob, self.circles.box, self.circles.sigma / 3)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return circles_sample(self.circles, n, generator).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return circles_log_prob(self.circles, x.double())


def concentric(radii: tuple[float, ...], sigma: float) -> Circles:
    """Circles around the origin."""
    return Circles(((0.0, 0.0),) * len(radii), radii, sigma)


class Rings(CirclesDistribution):
    """Four equally likely circles around the origin with radii 0.75, 1.5, 2.25 and 3 and Gaussian noise, as in FFJORD.

    Circle and angle are independent uniform draws. The FFJORD code instead uses regular grids with equal counts.
    """

    name = "rings"
    title = "Four rings (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Shape of the rings."""

        sigma: float = Field(0.08, gt=0, description="standard deviation of the noise, per coordinate")
        scale: float = Field(3.0, gt=0, description="radius of the outermost circle")

        def circles(self) -> Circles:
            """The four circles, at equal distances."""
            return concentric(tuple(self.scale * radius for radius in (0.25, 0.5, 0.75, 1.0)), self.sigma)


class TwoCircles(CirclesDistribution):
    """Two equally likely circles around the origin with radii 1.5 and 3 and Gaussian noise, as in FFJORD.

    The angles are independent uniform draws. scikit-learn's `make_circles` instead uses a regular grid.
    """

    name = "circles"
    title = "Two circles (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(trilemma.DistributionConfig):
        """Shape of the circles."""

        sigma: float = Field(0.24, gt=0, description="standard deviation of the noise, per coordinate")
        scale: float = Field(3.0, gt=0, description="radius of the outer circle")

        def circles(self) -> Circles:
            """The two circles. The inner one has half the radius of the outer one."""
            return concentric((self.scale * 0.5, self.scale), self.sigma)


class FourCircles(CirclesDistribution):
    """Four equally likely, interlocking circles around (+-1, +-1) with Gaussian noise, as in neural spline flows."""

    name = "four-circles"
    title = "Four circles (neural spline flows)"
    citation = "Durkan et al. 2019, Neural spline flows"

    class Config(trilemma.DistributionConfig):
        """Shape of the circles."""

        radius: float = Field(2.0, gt=0, description="radius of each circle")
        sigma: float = Field(0.1, gt=0, description="standard deviation of the noise, per coordinate")

        def circles(self) -> Circles:
            """The four circles, around the corners of a square."""
            centers = tuple((x, y) for x in (-1.0, 1.0) for y in (-1.0, 1.0))
            return Circles(centers, (self.radius,) * 4, self.sigma)
