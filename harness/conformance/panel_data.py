"""The data of the panel of defects: a ring in the plane, a mixture in 16 dimensions, and handwritten digits."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..contracts.config import Config
from ..contracts.dataset import Dataset, Distribution, DistributionConfig, Modes, Splits
from ..errors import UnsupportedError
from .distributions import log_density

Labeled = tuple[Tensor, Tensor]
"""Points `(n, *shape)` in data space, float64, and the mode or class of each point, `(n,)`."""


class PanelDataset(Dataset):
    """Base class of the data of the panel: fresh points with the labels of their modes or classes."""

    @property
    @abstractmethod
    def shares(self) -> Tensor:
        """The share of each mode or class, `(k,)`."""

    @property
    @abstractmethod
    def centers(self) -> Tensor:
        """The centers of the modes or classes, `(k, *shape)`, float64."""

    @abstractmethod
    def supply(self, seed: int) -> Supply:
        """A new supply of points that are independent of the splits."""


class Supply:
    """A supply of independent points of the true distribution, with their labels.

    `first` is the mode or class that defects of modes concern first.
    """

    def __init__(self, data: PanelDataset, first: int) -> None:
        self.data = data
        self.first = first % len(data.shares)
        self.train = data.splits.train.double()

    @abstractmethod
    def points(self, n: int, generator: torch.Generator) -> Labeled:
        """The next `n` points."""

    def take(self, n: int, generator: torch.Generator, keep: Tensor | None = None) -> Labeled:
        """The next `n` points, where a point of label j is kept with probability `keep[j]`."""
        if keep is None:
            return self.points(n, generator)
        parts: list[Labeled] = []
        missing = n
        while missing:
            x, labels = self.points(missing, generator)
            kept = torch.rand(len(x), generator=generator, dtype=torch.float64) < keep[labels]
            parts.append((x[kept], labels[kept]))
            missing -= int(kept.sum())
        return torch.cat([x for x, _ in parts]), torch.cat([labels for _, labels in parts])


class MixtureSupply(Supply):
    """Points of a mixture of isotropic Gaussians, without limit."""

    data: PanelMixture

    def points(self, n: int, generator: torch.Generator) -> Labeled:
        return self.data.labeled(n, generator)


class PoolSupply(Supply):
    """Points of a pool in random order, each of them once."""

    data: PanelDigits

    def __init__(self, data: PanelDigits, first: int, seed: int) -> None:
        super().__init__(data, first)
        self._order = torch.randperm(len(data.pool), generator=torch.Generator().manual_seed(seed))
        self._used = 0

    def points(self, n: int, generator: torch.Generator) -> Labeled:
        if self._used + n > len(self._order):
            raise UnsupportedError(
                f"the panel has {len(self._order)} images to draw samples from, and the metric asks for more: use "
                f"fewer draws or points per set (it has test sets of {self.data.config.n_test} images)"
            )
        rows = self._order[self._used : self._used + n]
        self._used += n
        return self.data.pool[rows].double(), self.data.pool_labels[rows]


class PanelMixture(PanelDataset, Distribution):
    """Base class of mixtures of isotropic Gaussians of equal weight and standard deviation `scale`."""

    scale: float

    class Config(DistributionConfig):
        """Sizes of the splits."""

        n_train: int = Field(5000, ge=2, description="training points")

    @property
    def shares(self) -> Tensor:
        k = len(self.centers)
        return torch.full((k,), 1 / k, dtype=torch.float64)

    def labeled(self, n: int, generator: torch.Generator) -> Labeled:
        """Draw `n` independent points with the labels of their modes."""
        labels = torch.randint(len(self.centers), (n,), generator=generator)
        noise = torch.randn((n, self.centers.shape[1]), generator=generator, dtype=torch.float64)
        return self.centers[labels] + self.scale * noise, labels

    def supply(self, seed: int) -> Supply:
        return MixtureSupply(self, self.config.data_seed)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.labeled(n, generator)[0].float()

    def log_prob(self, x: Tensor) -> Tensor:
        return log_density(x, self.shares, self.centers, torch.full_like(self.centers, self.scale))

    def modes(self) -> Modes:
        k, d = self.centers.shape
        return Modes(self.centers, self.shares, self.scale**2 * torch.eye(d, dtype=torch.float64).expand(k, d, d))


class PanelRing(PanelMixture):
    """Eight Gaussians of standard deviation 0.2 on a circle of radius 2."""

    name = "panel-2d"
    title = "Ring of 8 Gaussians"
    scale = 0.2

    @cached_property
    def centers(self) -> Tensor:
        angles = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
        return 2 * torch.stack([angles.cos(), angles.sin()], 1)


class PanelMixture16(PanelMixture):
    """Eight Gaussians of unit variance in 16 dimensions, with centers drawn once from N(0, I)."""

    name = "panel-16d"
    title = "Mixture of 8 Gaussians in 16 dimensions"
    scale = 1.0

    @cached_property
    def centers(self) -> Tensor:
        return torch.from_numpy(np.random.RandomState(0).standard_normal((8, 16)))


class PanelDigits(PanelDataset):
    """Handwritten digits of scikit-learn, 8 x 8 pixels with 17 levels, split anew for each seed.

    Images that are in no split form a pool that samples are drawn from. So samples, reference and training points are
    different images.
    """

    name = "panel-digits"
    kind = "image"
    levels = 17
    title = "Handwritten digits"
    source = "scikit-learn load_digits"
    license = "CC BY 4.0"

    class Config(Config):
        """Sizes of the splits."""

        n_train: int = Field(580, ge=2, description="training images")
        n_valid: int = Field(260, ge=2, description="validation images")
        n_test: int = Field(260, ge=2, description="test images")
        data_seed: int = Field(0, ge=0, description="seed of the split")

    @cached_property
    def _parts(self) -> list[Labeled]:
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.from_numpy(data.images.astype(np.uint8)).unsqueeze(1)
        labels = torch.from_numpy(data.target.astype(np.int64))
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.config.data_seed))
        c = self.config
        sizes = [c.n_train, c.n_valid, c.n_test]
        rows = torch.split(order, [*sizes, len(images) - sum(sizes)])
        return [(images[part], labels[part]) for part in rows]

    def load(self) -> Splits:
        return Splits(*(images for images, _ in self._parts[:3]))

    @property
    def pool(self) -> Tensor:
        """The images that are in no split, `(n, 1, 8, 8)`."""
        return self._parts[3][0]

    @property
    def pool_labels(self) -> Tensor:
        """The digits of the pool, `(n,)`."""
        return self._parts[3][1]

    @property
    def shares(self) -> Tensor:
        counts = torch.bincount(self.pool_labels, minlength=10).double()
        return counts / counts.sum()

    @cached_property
    def centers(self) -> Tensor:
        images, labels = self._parts[0]
        return torch.stack([images[labels == digit].double().mean(0) for digit in range(10)])

    def supply(self, seed: int) -> Supply:
        return PoolSupply(self, self.config.data_seed, seed)
