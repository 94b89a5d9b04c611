"""Distributions in more than two dimensions: the funnel, the many-well distribution, and Gaussian mixtures."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import trilemma

from .gaussian_mixture import GaussianMixture
from .mixtures import MixtureDistribution


class Funnel(trilemma.Distribution):
    """Neal's funnel: v ~ N(0, 9) and x_i | v ~ N(0, e^v), whose scales range over orders of magnitude.

    It is not clipped.
    """

    name = "funnel"
    title = "Neal's funnel"
    citation = "Neal 2003, Slice sampling"

    class Config(trilemma.DistributionConfig):
        """Size of the funnel."""

        dim: int = Field(10, ge=2, description="number of coordinates, including v")
        sigma: float = Field(3.0, gt=0, description="standard deviation of v")

    @property
    def entropy(self) -> float:
        """The entropy (d/2) ln(2 pi e) + ln sigma. The scales e^(v/2) of the x_i add nothing, because E[v] = 0."""
        return 0.5 * int(self.config.dim) * math.log(2 * math.pi * math.e) + math.log(self.config.sigma)

    @property
    def entropy_error(self) -> float:
        return 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, self.config.dim, generator=generator, dtype=torch.float64)
        v = self.config.sigma * z[:, :1]
        return torch.cat([v, torch.exp(v / 2) * z[:, 1:]], 1).float()

    def log_prob(self, x: Tensor) -> Tensor:
        x, sigma, d = x.double(), float(self.config.sigma), int(self.config.dim)
        v = x[:, 0]
        squares = (v / sigma).square() + (x[:, 1:] * torch.exp(-v / 2).unsqueeze(1)).square().sum(1)
        return -0.5 * squares - 0.5 * (d - 1) * v - math.log(sigma) - 0.5 * d * math.log(2 * math.pi)


def double_well(x: Tensor) -> Tensor:
    """Unnormalized log-density -x^4 + 6 x^2 + x/2 of one double well (Midgley et al. 2023, section 4.2)."""
    return -(x**4) + 6 * x**2 + x / 2


class ManyWell(trilemma.Distribution):
    """The many-well distribution: independent pairs with unnormalized log-density -x1^4 + 6 x1^2 + x1/2 - x2^2/2.

    It has 2^(d/2) modes. In each pair, the left well has less mass than the right one.
    """

    name = "many-well"
    title = "Many-well"
    citation = "Midgley et al. 2023, Flow annealed importance sampling bootstrap; after Noe et al. 2019"

    class Config(trilemma.DistributionConfig):
        """Size of the problem."""

        pairs: int = Field(16, ge=1, description="number of pairs, which is half the number of coordinates")

    # x1 is drawn by rejection from two Gaussians around the wells at +-sqrt(3), which also cover the barrier between.
    _WELL, _WIDTH, _RIGHT = math.sqrt(3), 0.42, 0.85

    @cached_property
    def _quadrature(self) -> tuple[float, float]:
        """ln Z and the entropy of one double well, by the trapezoidal rule, which is accurate to rounding here."""
        x = torch.linspace(-5, 5, 10_001, dtype=torch.float64)
        log_p = double_well(x)
        log_z = float(log_p.logsumexp(0)) + math.log(1e-3)
        return log_z, -float(((log_p - log_z).exp() * (log_p - log_z)).sum()) * 1e-3

    @cached_property
    def _log_bound(self) -> float:
        """The maximum of double_well - _proposal, with a margin for the spacing of the search."""
        x = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
        return float((double_well(x) - self._proposal(x)).max()) + 1e-4

    def _proposal(self, x: Tensor) -> Tensor:
        """Log-density of the proposal, a mixture of two Gaussians."""
        wells = [
            math.log(weight) - 0.5 * ((x - center) / self._WIDTH).square()
            for center, weight in ((self._WELL, self._RIGHT), (-self._WELL, 1 - self._RIGHT))
        ]
        return torch.logaddexp(*wells) - math.log(self._WIDTH * math.sqrt(2 * math.pi))

    @property
    def entropy(self) -> float:
        return float(self.config.pairs * (self._quadrature[1] + 0.5 * math.log(2 * math.pi * math.e)))

    @property
    def entropy_error(self) -> float:
        return 1e-12 * float(self.config.pairs)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x1 = self._wells(n * self.config.pairs, generator).reshape(n, -1)
        x2 = torch.randn(n, self.config.pairs, generator=generator, dtype=torch.float64)
        return torch.stack([x1, x2], 2).flatten(1).float()

    def _wells(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` independent draws of x1 by rejection."""
        accepted: list[Tensor] = []
        missing = count
        while missing > 0:
            m = 3 * missing + 100
            side = torch.where(torch.rand(m, generator=generator) < self._RIGHT, self._WELL, -self._WELL).double()
            x = side + self._WIDTH * torch.randn(m, generator=generator, dtype=torch.float64)
            log_u = torch.rand(m, generator=generator, dtype=torch.float64).log()
            kept = x[log_u < double_well(x) - self._proposal(x) - self._log_bound]
            accepted.append(kept[:missing])
            missing -= len(accepted[-1])
        return torch.cat(accepted)

    def log_prob(self, x: Tensor) -> Tensor:
        x1, x2 = x.double().reshape(len(x), -1, 2).unbind(2)
        log_z = self._quadrature[0] + 0.5 * math.log(2 * math.pi)
        return (double_well(x1) - 0.5 * x2.square() - log_z).sum(1)


class RandomCentersConfig(trilemma.DistributionConfig):
    """Options of isotropic Gaussians of unit variance and equal weight around random centers.

    The centers are drawn once from N(0, spread^2 I) with a fixed seed.
    """

    dim: int = Field(16, ge=1, description="number of coordinates")
    components: int = Field(8, ge=1, description="number of Gaussians")
    spread: float = Field(1.0, ge=0, description="standard deviation of the centers, per coordinate")
    centers_seed: int = Field(0, ge=0, description="seed of the draw of the centers")

    def mixture(self) -> GaussianMixture:
        """The mixture."""
        state = np.random.RandomState(self.centers_seed)
        centers = self.spread * state.standard_normal((self.components, self.dim))
        return GaussianMixture.isotropic(torch.from_numpy(centers), 1.0)


class GaussianMixture16(MixtureDistribution):
    """Eight Gaussians of unit variance in 16 dimensions, with centers drawn once from N(0, I)."""

    name = "mixture-d16"
    title = "Gaussian mixture, d = 16"

    class Config(RandomCentersConfig):
        """Size of the mixture."""


class GaussianMixture64(MixtureDistribution):
    """Sixteen Gaussians of unit variance in 64 dimensions, with centers drawn once from N(0, I / 4)."""

    name = "mixture-d64"
    title = "Gaussian mixture, d = 64"

    class Config(RandomCentersConfig):
        """Size of the mixture."""

        dim: int = Field(64, ge=1, description="number of coordinates")
        components: int = Field(16, ge=1, description="number of Gaussians")
        spread: float = Field(0.5, ge=0, description="standard deviation of the centers, per coordinate")
