"""Noise schedules: how a diffusion's time maps to scale and noise level.

A linear diffusion dx = f(t) x dt + g(t) dw has the marginals x_t = a(t) (x_0 + sigma(t) z), z ~ N(0, I); in the
coordinates x_t / a(t) all of them are the variance-exploding one, told apart only by their clock (Karras et al. 2022,
appendix B). Times and noise levels are tensors of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VariancePreserving:
    """The VP diffusion dx = -beta(t)/2 x dt + sqrt(beta(t)) dw with beta linear in t, 0 <= t <= 1.

    Source: Song et al. 2021, eq. 32.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def beta(self, t: Tensor) -> Tensor:
        """beta(t) = beta_min + t (beta_max - beta_min)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Tensor) -> Tensor:
        """The integral of beta from 0 to t."""
        return t * self.beta_min + 0.5 * t**2 * (self.beta_max - self.beta_min)

    def scale(self, t: Tensor) -> Tensor:
        """a(t) = exp(-integral / 2)."""
        return (-0.5 * self.integral(t)).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """The noise level relative to the scale: sqrt(exp(integral) - 1)."""
        return self.integral(t).expm1().sqrt()


def rho_grid(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """`steps` noise levels from `sigma_max` down to `sigma_min`, evenly spaced in sigma^(1/rho), float64.

    Source: Karras et al. 2022, eq. 5.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    grid: Tensor = (high + ramp * (low - high)) ** rho
    return grid
