"""Noise schedules: the coefficients of diffusions as functions of time, and grids of noise levels.

A linear diffusion dx = f(t) x dt + g(t) dw has the marginals x_t = alpha(t) (x_0 + sigma(t) z), z ~ N(0, I). In the
coordinates x_t / alpha(t) every linear diffusion is the variance-exploding diffusion up to a change of time (Karras et
al. 2022, appendix B). Times and noise levels are tensors of any shape.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor


class Diffusion(ABC):
    """A linear diffusion dx = f(t) x dt + g(t) dw over 0 <= t <= 1, given by its coefficients and its marginals."""

    @abstractmethod
    def drift(self, t: Tensor) -> Tensor:
        """The drift coefficient f(t)."""

    @abstractmethod
    def squared_diffusion(self, t: Tensor) -> Tensor:
        """g(t)^2, the square of the diffusion coefficient."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """alpha(t), the factor of x_0 in the marginal."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """sigma(t), the noise level: the standard deviation of x_t given x_0, divided by alpha(t)."""

    @abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """The time at which the noise level is `sigma`, the inverse of `sigma(t)`."""

    @property
    def eps(self) -> float:
        """The smallest time at which denoisers are trained."""
        return 0.0

    @property
    def sigma_min(self) -> float:
        """The noise level at time `eps`, below which denoisers are not trained. Samplers and likelihoods end there."""
        return float(self.sigma(torch.tensor(self.eps, dtype=torch.float64)))

    @property
    def sigma_max(self) -> float:
        """The noise level at time 1, at which samplers start. Most denoisers are not trained above it."""
        return float(self.sigma(torch.ones((), dtype=torch.float64)))

    def trained_levels(self) -> tuple[float, float]:
        """The lowest and the largest noise level at which denoisers are trained."""
        return self.sigma_min, self.sigma_max

    def lowest_of(self, sigma_min: float) -> float:
        """The noise level at which a sampler or a likelihood with the option `sigma_min` ends: not below time `eps`.

        A level that is lower by less than a thousandth stays: no network tells them apart.
        """
        lowest = self.sigma_min
        return sigma_min if sigma_min > 0.999 * lowest else lowest

    def earliest_of(self, eps: float) -> float:
        """The time at which a sampler with the option `eps` ends: not before that of the diffusion."""
        return max(eps, self.eps)


@dataclass(frozen=True)
class VariancePreserving(Diffusion):
    """The VP diffusion dx = -beta(t)/2 x dt + sqrt(beta(t)) dw with beta linear in t.

    Source: Song et al. 2021, eq. 32.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = field(default=0.0, kw_only=True)

    def beta(self, t: Tensor) -> Tensor:
        """beta(t) = beta_min + t (beta_max - beta_min)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Tensor) -> Tensor:
        """The integral of beta from 0 to t."""
        return t * self.beta_min + 0.5 * t**2 * (self.beta_max - self.beta_min)

    def drift(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t)

    def alpha(self, t: Tensor) -> Tensor:
        """alpha(t) = exp(-integral / 2)."""
        return (-0.5 * self.integral(t)).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """sigma(t) = sqrt(exp(integral) - 1)."""
        return self.integral(t).expm1().sqrt()

    def time(self, sigma: Tensor) -> Tensor:
        return self._time_of((sigma**2).log1p())

    def _time_of(self, integral: Tensor) -> Tensor:
        """The time at which the integral of beta has this value: the root of a quadratic, stable near 0."""
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())


@dataclass(frozen=True)
class SubVariancePreserving(VariancePreserving):
    """The sub-VP diffusion: the drift of VP with g^2 = beta (1 - exp(-2 integral)), and less variance at every time.

    The standard deviation of x_t given x_0 is alpha sigma = 1 - exp(-integral). Source: Song et al. 2021, eq. 29.
    """

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return -self.beta(t) * (-2 * self.integral(t)).expm1()

    def sigma(self, t: Tensor) -> Tensor:
        """sigma(t) = 2 sinh(integral / 2)."""
        return 2 * (0.5 * self.integral(t)).sinh()

    def time(self, sigma: Tensor) -> Tensor:
        return self._time_of(2 * (0.5 * sigma).asinh())


@dataclass(frozen=True)
class VarianceExploding(Diffusion):
    """The VE diffusion dx = g(t) dw with the noise level sigma_min (sigma_max / sigma_min)^t.

    The noise level at time 0 is sigma_min, not 0. Source: Song et al. 2021, eq. 30 and 31.
    """

    lowest: float = 0.002
    highest: float = 50.0
    eps: float = field(default=0.0, kw_only=True)

    def drift(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def squared_diffusion(self, t: Tensor) -> Tensor:
        """The derivative of sigma^2."""
        return 2 * math.log(self.highest / self.lowest) * self.sigma(t) ** 2

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.lowest * (self.highest / self.lowest) ** t

    def time(self, sigma: Tensor) -> Tensor:
        return (sigma / self.lowest).log() / math.log(self.highest / self.lowest)


class DiscreteDiffusion(Diffusion):
    """A diffusion that is used only at finitely many noise levels."""

    @abstractmethod
    def noise_levels(self) -> Tensor:
        """The noise levels in falling order, float64."""

    def trained_levels(self) -> tuple[float, float]:
        levels = self.noise_levels()
        return float(levels[-1]), float(levels[0])


@dataclass(frozen=True)
class DiscreteVariancePreserving(VariancePreserving, DiscreteDiffusion):
    """The chain of DDPM, with `steps` steps x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z (Ho et al. 2020, eq. 2).

    beta_i rises linearly from beta_min / steps to beta_max / steps. With 1,000 steps and the default options these are
    1e-4 and .02, as in the paper.
    """

    steps: int = 1000

    def noise_levels(self) -> Tensor:
        ramp = torch.linspace(self.beta_min, self.beta_max, self.steps, dtype=torch.float64)
        return (-(-ramp / self.steps).log1p().cumsum(0)).expm1().sqrt().flip(0)


@dataclass(frozen=True)
class DiscreteCosine(DiscreteDiffusion):
    """The cosine schedule of Improved DDPM, with `steps` steps and beta at most .999.

    alpha(t) = cos(a(t)) / cos(a(0)) with the angle a(t) = pi/2 (t + .008) / 1.008, except for the limit of beta in the
    last step. Source: Nichol & Dhariwal 2021, eq. 17.
    """

    steps: int = 1000
    offset: float = 0.008
    largest_beta: float = 0.999

    def _angle(self, t: Tensor) -> Tensor:
        return math.pi / 2 * (t + self.offset) / (1 + self.offset)

    @property
    def _first(self) -> float:
        """The cosine of the angle at time 0."""
        return math.cos(math.pi / 2 * self.offset / (1 + self.offset))

    def drift(self, t: Tensor) -> Tensor:
        return -math.pi / 2 / (1 + self.offset) * self._angle(t).tan()

    def squared_diffusion(self, t: Tensor) -> Tensor:
        return -2 * self.drift(t)

    def alpha(self, t: Tensor) -> Tensor:
        return self._angle(t).cos() / self._first

    def sigma(self, t: Tensor) -> Tensor:
        return (self.alpha(t) ** -2 - 1).clamp(min=0).sqrt()

    def time(self, sigma: Tensor) -> Tensor:
        angle = (self._first * (1 + sigma**2).rsqrt()).acos()
        return angle / (math.pi / 2) * (1 + self.offset) - self.offset

    @property
    def sigma_max(self) -> float:
        return float(self.noise_levels()[0])

    def noise_levels(self) -> Tensor:
        kept = self.alpha(torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)).square()
        beta = (1 - kept[1:] / kept[:-1]).clamp(max=self.largest_beta)
        return (-(-beta).log1p().cumsum(0)).expm1().sqrt().flip(0)


@dataclass(frozen=True)
class DiscreteVarianceExploding(VarianceExploding, DiscreteDiffusion):
    """The `steps` noise levels of NCSN, in a constant ratio (Song & Ermon 2019, section 4)."""

    steps: int = 30

    def noise_levels(self) -> Tensor:
        return geometric_grid(self.steps, self.lowest, self.highest)


def rho_grid(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """`steps` noise levels from `sigma_max` down to `sigma_min`, evenly spaced in sigma^(1/rho), float64.

    Source: Karras et al. 2022, eq. 5.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    grid: Tensor = (high + ramp * (low - high)) ** rho
    return grid


def geometric_grid(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """`steps` noise levels from `sigma_max` down to `sigma_min` in a constant ratio, float64 (Song & Ermon 2019)."""
    return torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64).exp()
