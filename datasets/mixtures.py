"""Gaussian mixtures as datasets: rings, grids, variants from public code, and any mixture by its parameters."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from pydantic import Field, model_validator
from torch import Tensor

import trilemma

from .gaussian_mixture import GaussianMixture
from .quadrature import Estimate, EstimatedEntropy


class MixtureDistribution(EstimatedEntropy, trilemma.Distribution):
    """Base class of datasets drawn from a Gaussian mixture. The Config gives the `mixture`."""

    @cached_property
    def mixture(self) -> GaussianMixture:
        """The Gaussian mixture."""
        mixture: GaussianMixture = self.config.mixture()
        return mixture

    @cached_property
    def entropy_estimate(self) -> Estimate:
        return self.mixture.entropy()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.mixture.sample(n, generator).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return self.mixture.log_prob(x)

    def modes(self) -> trilemma.Modes:
        distribution = self.mixture
        return trilemma.Modes(distribution.centers, distribution.weights, distribution.covariances)


def ring_centers(modes: int, radius: float) -> Tensor:
    """Centers (modes, 2), equally spaced on a circle, with the first at (radius, 0)."""
    angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
    return radius * torch.stack([angles.cos(), angles.sin()], 1)


def grid_centers(side: int, spacing: float) -> Tensor:
    """Centers (side^2, 2) on a square grid around the origin."""
    axis = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(axis, axis)


class RingConfig(trilemma.DistributionConfig):
    """Shape of a ring."""

    modes: int = Field(8, ge=1, description="number of Gaussians")
    radius: float = Field(2.0, ge=0, description="radius of the circle of centers")
    sigma: float = Field(0.2, gt=0, description="standard deviation of each Gaussian, per coordinate")
    weight_ratio: float = Field(1.0, gt=0, description="ratio of the weights of one Gaussian and the one before it")

    def mixture(self) -> GaussianMixture:
        """The ring."""
        weights = self.weight_ratio ** torch.arange(self.modes, dtype=torch.float64)
        return GaussianMixture.isotropic(ring_centers(self.modes, self.radius), self.sigma, weights)


class Ring(MixtureDistribution):
    """Isotropic Gaussians on a circle, with equal weights or with weights in geometric progression."""

    name = "ring"
    title = "Ring of Gaussians"

    class Config(RingConfig):
        """Shape of the ring."""


class Ring8(MixtureDistribution):
    """Eight Gaussians of equal weight and standard deviation 0.2 on a circle of radius 2."""

    name = "ring8"
    title = "Ring of 8 Gaussians"

    class Config(RingConfig):
        """Shape of the ring."""


class Ring8Unequal(MixtureDistribution):
    """Eight Gaussians on a circle of radius 2, each with half the weight of the one before.

    The rarest mode holds 1 point in 255.
    """

    name = "ring8-unequal"
    title = "Ring of 8 Gaussians, unequal weights"

    class Config(RingConfig):
        """Shape of the ring."""

        weight_ratio: float = Field(0.5, gt=0, description="ratio of the weights of one Gaussian and the one before it")


class GridConfig(trilemma.DistributionConfig):
    """Shape of a grid."""

    side: int = Field(5, ge=1, description="Gaussians along one side")
    spacing: float = Field(2.0, gt=0, description="distance between neighboring centers")
    sigma: float = Field(0.05, gt=0, description="standard deviation of each Gaussian, per coordinate")

    def mixture(self) -> GaussianMixture:
        """The grid."""
        return GaussianMixture.isotropic(grid_centers(self.side, self.spacing), self.sigma)


class Grid(MixtureDistribution):
    """Isotropic Gaussians of equal weight on a square grid around the origin."""

    name = "grid"
    title = "Grid of Gaussians"

    class Config(GridConfig):
        """Shape of the grid."""


class Grid25(MixtureDistribution):
    """25 Gaussians of standard deviation 0.05 on a 5 x 5 grid with coordinates -4, -2, 0, 2, 4.

    It is the grid of the literature on mode collapse.
    """

    name = "grid25"
    title = "Grid of 25 Gaussians"
    citation = "Srivastava et al. 2017, VEEGAN"

    class Config(GridConfig):
        """Shape of the grid."""


class Gaussians25(MixtureDistribution):
    """25 Gaussians on a 5 x 5 grid as in the WGAN-GP code: the dataset `grid25` divided by 2.828."""

    name = "25gaussians"
    title = "25 Gaussians (WGAN-GP)"
    citation = "Gulrajani et al. 2017, Improved training of Wasserstein GANs"

    class Config(GridConfig):
        """Shape of the grid."""

        spacing: float = Field(2 / 2.828, gt=0, description="distance between neighboring centers")
        sigma: float = Field(0.05 / 2.828, gt=0, description="standard deviation of each Gaussian, per coordinate")


class Gaussians8Ffjord(MixtureDistribution):
    """Eight Gaussians on a circle as in the FFJORD code: radius 4 and standard deviation 0.5, divided by 1.414."""

    name = "8gaussians-ffjord"
    title = "8 Gaussians (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    class Config(RingConfig):
        """Shape of the ring."""

        radius: float = Field(4 / 1.414, ge=0, description="radius of the circle of centers")
        sigma: float = Field(0.5 / 1.414, gt=0, description="standard deviation of each Gaussian, per coordinate")


class Gaussians8WganGp(MixtureDistribution):
    """Eight Gaussians on a circle as in the WGAN-GP code: radius 2 and standard deviation 0.02, divided by 1.414."""

    name = "8gaussians-wgan-gp"
    title = "8 Gaussians (WGAN-GP)"
    citation = "Gulrajani et al. 2017, Improved training of Wasserstein GANs"

    class Config(RingConfig):
        """Shape of the ring."""

        radius: float = Field(2 / 1.414, ge=0, description="radius of the circle of centers")
        sigma: float = Field(0.02 / 1.414, gt=0, description="standard deviation of each Gaussian, per coordinate")


class Gaussians8Cfm(MixtureDistribution):
    """Eight Gaussians on a circle as in the TorchCFM code: radius 5 and covariance sqrt(0.1) I."""

    name = "8gaussians-cfm"
    title = "8 Gaussians (TorchCFM)"
    citation = "Tong et al. 2024, Improving and generalizing flow-based generative models"

    class Config(RingConfig):
        """Shape of the ring."""

        radius: float = Field(5.0, ge=0, description="radius of the circle of centers")
        sigma: float = Field(0.1**0.25, gt=0, description="standard deviation of each Gaussian, per coordinate")


class ComponentsConfig(trilemma.DistributionConfig):
    """The components of a mixture."""

    centers: tuple[tuple[float, ...], ...] = Field(
        ((-2.0, 0.0), (0.0, 0.0), (2.0, 0.0)), min_length=1, description="one center for each component"
    )
    weights: tuple[float, ...] = Field((0.1, 0.3, 0.6), description="weights, normalized to sum to 1")
    sigmas: tuple[float, ...] = Field((0.2, 0.4, 0.2), description="standard deviations, per coordinate")

    @model_validator(mode="after")
    def _one_of_each(self) -> ComponentsConfig:
        counts = len(self.centers), len(self.weights), len(self.sigmas)
        if len(set(counts)) != 1:
            raise ValueError(f"{counts[0]} centers, {counts[1]} weights and {counts[2]} sigmas: give one of each")
        if len({len(center) for center in self.centers}) != 1 or not self.centers[0]:
            raise ValueError("all centers need the same number of coordinates, at least 1")
        if min(self.weights) <= 0 or min(self.sigmas) <= 0:
            raise ValueError("weights and sigmas must be positive")
        return self

    def mixture(self) -> GaussianMixture:
        """The mixture."""
        return GaussianMixture.isotropic(
            torch.tensor(self.centers, dtype=torch.float64),
            torch.tensor(self.sigmas, dtype=torch.float64),
            torch.tensor(self.weights, dtype=torch.float64),
        )


class Mixture(MixtureDistribution):
    """A mixture of isotropic Gaussians with given centers, weights and standard deviations."""

    name = "mixture"
    title = "Gaussian mixture"

    class Config(ComponentsConfig):
        """The components."""


class TwoModes(MixtureDistribution):
    """Two distant Gaussians of unequal weight: 1/5 N((-5, -5), I) + 4/5 N((5, 5), I).

    A sampler that uses only local scores gives the modes wrong weights.
    """

    name = "two-modes"
    title = "Two Gaussians, weights 1/5 and 4/5"
    citation = (
        "Song and Ermon 2019, Generative modeling by estimating gradients of the data distribution, section 3.2.2"
    )

    class Config(ComponentsConfig):
        """The components."""

        centers: tuple[tuple[float, ...], ...] = Field(
            ((-5.0, -5.0), (5.0, 5.0)), min_length=1, description="one center for each component"
        )
        weights: tuple[float, ...] = Field((0.2, 0.8), description="weights, normalized to sum to 1")
        sigmas: tuple[float, ...] = Field((1.0, 1.0), description="standard deviations, per coordinate")
