"""Distributions with a normal x1 and a Gaussian x2 around a curve m(x1), from the neural-spline-flow code."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor

import trilemma


class ConditionalGaussian(trilemma.Distribution):
    """Base class of distributions with x1 ~ N(0, 1) and x2 | x1 ~ N(m(x1), sigma^2). A subclass gives `mean`.

    The entropy is ln(2 pi e) + ln sigma.
    """

    citation = "Durkan et al. 2019, Neural spline flows"

    @abstractmethod
    def mean(self, x1: Tensor) -> Tensor:
        """The mean m(x1) of x2, shape `(n,)`."""

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi * math.e) + math.log(self.config.sigma)

    @property
    def entropy_error(self) -> float:
        return 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x1, noise = torch.randn(2, n, generator=generator, dtype=torch.float64)
        # Round x1 first, because x2 must be drawn around the mean at the returned x1, also where m jumps.
        x1 = x1.float().double()
        return torch.stack([x1, self.mean(x1) + self.config.sigma * noise], 1).float()

    def log_prob(self, x: Tensor) -> Tensor:
        x1, x2 = x.double().unbind(1)
        sigma = float(self.config.sigma)
        standardized = (x2 - self.mean(x1)) / sigma
        return -0.5 * (x1.square() + standardized.square()) - math.log(2 * math.pi * sigma)


class Crescent(ConditionalGaussian):
    """A parabola with Gaussian noise: x1 ~ N(0, 1) and x2 ~ N(x1^2 / 2 - 1, e^-2)."""

    name = "crescent"
    title = "Crescent (neural spline flows)"

    class Config(trilemma.DistributionConfig):
        """Width of the curve."""

        sigma: float = Field(math.exp(-1), gt=0, description="standard deviation of x2 around the curve")

    def mean(self, x1: Tensor) -> Tensor:
        return 0.5 * x1.square() - 1


class Cubed(ConditionalGaussian):
    """A cubic curve with Gaussian noise: x1 ~ N(0, 1) and x2 ~ N(x1^3 / 5, 1)."""

    name = "cubed"
    title = "Cubed crescent (neural spline flows)"

    class Config(trilemma.DistributionConfig):
        """Width of the curve."""

        sigma: float = Field(1.0, gt=0, description="standard deviation of x2 around the curve")

    def mean(self, x1: Tensor) -> Tensor:
        return 0.2 * x1**3


class Sine(ConditionalGaussian):
    """A sine wave with Gaussian noise: x1 ~ N(0, 1) and x2 ~ N(sin(5 x1), e^-2)."""

    name = "sine"
    title = "Sine wave (neural spline flows)"

    class Config(trilemma.DistributionConfig):
        """Width of the curve."""

        sigma: float = Field(math.exp(-1), gt=0, description="standard deviation of x2 around the curve")

    def mean(self, x1: Tensor) -> Tensor:
        return torch.sin(5 * x1)


class Abs(ConditionalGaussian):
    """The absolute value with Gaussian noise: x1 ~ N(0, 1) and x2 ~ N(|x1| - 1, e^-3)."""

    name = "abs"
    title = "Absolute value (neural spline flows)"

    class Config(trilemma.DistributionConfig):
        """Width of the curve."""

        sigma: float = Field(math.exp(-1.5), gt=0, description="standard deviation of x2 around the curve")

    def mean(self, x1: Tensor) -> Tensor:
        return x1.abs() - 1


class Sign(ConditionalGaussian):
    """A line with a jump, with Gaussian noise: x1 ~ N(0, 1) and x2 ~ N(sign(x1) + x1, e^-3).

    The density is discontinuous at x1 = 0.
    """

    name = "sign"
    title = "Sign (neural spline flows)"

    class Config(trilemma.DistributionConfig):
        """Width of the curve."""

        sigma: float = Field(math.exp(-1.5), gt=0, description="standard deviation of x2 around the curve")

    def mean(self, x1: Tensor) -> Tensor:
        return x1.sign() + x1
