"""The datasets for checking plugins: three well separated Gaussians in the plane, and small images."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from ..contracts.config import Config
from ..contracts.dataset import Dataset, Distribution, DistributionConfig, Modes, Splits
from ..contracts.model import Context, Model, Split
from ..evaluation.spaces import Space

CENTERS = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
SCALE = 0.5


def log_density(x: Tensor, weights: Tensor, means: Tensor, deviations: Tensor) -> Tensor:
    """Log-density of a mixture of axis-aligned Gaussians, `(n,)`: `weights` (k,), `means` and `deviations` (k, d)."""
    z = (x.double().unsqueeze(1) - means) / deviations
    logs = -0.5 * z.square().sum(2) - (deviations * math.sqrt(2 * math.pi)).log().sum(1) + weights.log()
    return logs.logsumexp(1)


def draw(n: int, weights: Tensor, means: Tensor, deviations: Tensor, generator: torch.Generator) -> Tensor:
    """Draw `n` points from a mixture of axis-aligned Gaussians, shape `(n, d)`, float64."""
    labels = torch.multinomial(weights, n, replacement=True, generator=generator)
    noise = torch.randn((n, means.shape[1]), generator=generator, dtype=torch.float64)
    return means[labels] + deviations.expand_as(means)[labels] * noise


def placed(shift: float, unit: float = 1.0, dim: int = 2) -> Tensor:
    """The centers of the three Gaussians, `(3, dim)`, with a shift of the second coordinate, times `unit`."""
    centers = torch.zeros((len(CENTERS), dim), dtype=torch.float64)
    centers[:, :2] = CENTERS
    centers[:, 1] += shift
    return unit * centers


class ThreeGaussians(Distribution):
    """Three well separated isotropic Gaussians of unequal weight in the plane."""

    name = "three-gaussians"
    title = "Three Gaussians"

    class Config(DistributionConfig):
        """Sizes of the splits, and a shift of the distribution."""

        n_train: int = Field(2000, ge=2, description="training points")
        n_valid: int = Field(1000, ge=2, description="validation points")
        n_test: int = Field(1000, ge=2, description="test points")
        shift: float = Field(0.0, description="added to the second coordinate, in the units of `unit` = 1")
        unit: float = Field(1.0, gt=0, description="factor of all coordinates")
        dim: int = Field(2, ge=2, description="coordinates; those beyond two are independent Gaussians")

    @property
    def scale(self) -> float:
        """The standard deviation of each Gaussian."""
        return SCALE * float(self.config.unit)

    @property
    def centers(self) -> Tensor:
        """The centers of the Gaussians, `(3, dim)`."""
        return placed(self.config.shift, self.config.unit, self.config.dim)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return draw(n, WEIGHTS, self.centers, torch.full_like(self.centers, self.scale), generator).float()

    def log_prob(self, x: Tensor) -> Tensor:
        return log_density(x, WEIGHTS, self.centers, torch.full_like(self.centers, self.scale))

    def modes(self) -> Modes:
        d = self.config.dim
        return Modes(self.centers, WEIGHTS, self.scale**2 * torch.eye(d, dtype=torch.float64).expand(3, d, d))

    @property
    def entropy(self) -> float:
        """The entropy of the weights plus the entropy of each Gaussian, because the Gaussians do not overlap."""
        of_one = int(self.config.dim) * math.log(math.sqrt(2 * math.pi * math.e) * self.scale)
        return float(-(WEIGHTS * WEIGHTS.log()).sum()) + of_one


class SmallImages(Dataset):
    """Images of 8 x 8 pixels with 17 levels, each with one bright disc."""

    name = "small-images"
    kind = "image"
    levels = 17
    title = "Discs"
    source = "drawn"
    license = "CC0-1.0"

    class Config(Config):
        """The channels."""

        channels: int = Field(1, ge=1, description="channels, all with the same disc")

    def load(self) -> Splits:
        grid = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))

        def images(n: int, seed: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            centers = 2 + 3 * torch.rand((n, 2, 1, 1), generator=generator)
            noise = 2 * torch.rand((n, self.config.channels, 8, 8), generator=generator)
            return (14 * (-(grid - centers).square().sum(1, keepdim=True) / 4).exp() + noise).to(torch.uint8)

        return Splits(images(600, 0), images(200, 1), images(600, 2))


class Distorted(Model):
    """A distorted version of `ThreeGaussians`, on which metrics are tested. Call `place` before use."""

    name = "distorted"
    likelihood = "exact"

    class Config(Config):
        """The distortion, in data space."""

        shift: float = Field(0.0, description="added to the second coordinate, in the units of `unit` = 1")
        unit: float = Field(1.0, gt=0, description="factor of all coordinates")
        reverse: bool = Field(False, description="whether samples come in reverse order")

    def place(self, space: Space) -> None:
        """Compute the parameters of the mixture in the model space `space`."""
        centers = placed(self.config.shift, self.config.unit)
        self.weights = WEIGHTS
        self.means = space.to_model(centers)[0]
        self.deviations = space.to_model(centers + SCALE * self.config.unit)[0] - self.means

    def fit(self, train: Split, ctx: Context) -> None:
        return None

    def sample(self, n: int, ctx: Context) -> Tensor:
        x = draw(n, self.weights, self.means, self.deviations, ctx.generator).float()
        return x.flip(0) if self.config.reverse else x

    def log_prob(self, x: Tensor, ctx: Context) -> Tensor:
        return log_density(x, self.weights, self.means, self.deviations)

    def score(self, x: Tensor, sigma: Tensor, ctx: Context) -> Tensor:
        with torch.enable_grad():
            x = x.double().requires_grad_()
            deviations = (self.deviations**2 + sigma.double() ** 2).sqrt()
            return torch.autograd.grad(log_density(x, self.weights, self.means, deviations).sum(), x)[0]
