"""Maps between data space and model space: dequantization, scaling, logit and standardization.

A transform acts on float tensors `(n, *shape)`. Its `forward` maps from data space towards model space and returns
`(y, log|det dy/dx|)`, with one log-determinant per row, shape `(n,)`, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..contracts.dataset import Dataset, Modes
from ..errors import DataError


class DequantizationNoise(Protocol):
    """A distribution q(u | x) of the noise u in (0, 1) that is added to intensity levels x.

    The bound on the likelihood of the levels is log P(x) >= E[log p(x + u) - log q(u | x)] (Ho et al. 2019, Flow++,
    eq. 3).
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the noise u, float64 of the shape of `x`, and log q(u | x) in nats, shape `(n,)`."""
        ...


def uniform_noise(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform dequantization noise (Theis et al. 2016), for which log q = 0."""
    return torch.rand(x.shape, generator=generator, dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)


class Transform(Protocol):
    """An invertible map with a log-determinant."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def inverse(self, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Affine:
    """y = (x - shift) / scale. `shift` and `scale` broadcast against one point."""

    shift: Tensor
    scale: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.scale.to(x).log().expand(x.shape[1:]).sum()
        return (x - self.shift.to(x)) / self.scale.to(x), logdet.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y * self.scale.to(y) + self.shift.to(y)


@dataclass(frozen=True)
class Logit:
    """y = logit(alpha + (1 - 2 alpha) x) for x in (0, 1) (Dinh et al. 2017, section 4.1)."""

    alpha: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.alpha + (1 - 2 * self.alpha) * x
        y = torch.logit(p)
        logdet = (math.log(1 - 2 * self.alpha) - p.log() - (1 - p).log()).flatten(1).sum(1)
        return y, logdet

    def inverse(self, y: Tensor) -> Tensor:
        return ((torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)


@dataclass(frozen=True)
class Space:
    """The chain of transforms from data space to model space.

    Images in data space are integer levels. `dequantize` adds noise to them first; a density of the noisy levels then
    gives a lower bound on the log-probability of the levels (Theis et al. 2016).
    """

    shape: tuple[int, ...]
    flatten: bool
    levels: int | None
    transforms: Sequence[Transform]
    noise: DequantizationNoise = uniform_noise
    standardized: bool = False
    """Whether metrics see vectors in units of the standard deviations of the training split."""

    @classmethod
    def fit(cls, dataset: Dataset, *, flatten: bool, image_space: Literal["affine", "logit"] = "affine") -> Space:
        """Fit the space of a dataset on its training split alone.

        Vectors are standardized per coordinate. Images are dequantized, scaled to (0, 1), mapped by a logit if
        `image_space` is "logit", and standardized with one mean and one standard deviation of all intensities.
        Raises DataError for a constant coordinate.
        """
        train = dataset.splits.train.double()
        if dataset.levels is None:
            scale = train.std(0)
            if not (scale > 0).all():
                columns = (~(scale > 0)).flatten().nonzero()[:5, 0].tolist()
                raise DataError(
                    f"dataset '{dataset.name}': coordinates {columns} are constant and cannot be standardized: "
                    "drop them"
                )
            chain: list[Transform] = [Affine(train.mean(0), scale)]
        else:
            levels = torch.tensor(float(dataset.levels), dtype=torch.float64)
            chain = [Affine(torch.zeros((), dtype=torch.float64), levels)]
            noise = torch.rand(train.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            y = (train + noise) / levels
            if image_space == "logit":
                chain.append(Logit(dataset.logit_alpha))
                y = chain[-1].forward(y)[0]
            chain.append(Affine(y.mean(), y.std()))
        standardized = dataset.standardized and dataset.levels is None and not dataset.has_density
        return cls(dataset.shape, flatten, dataset.levels, tuple(chain), standardized=standardized)

    def dequantize(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Add noise to intensity levels, so that level k becomes a real number in (k, k + 1).

        Continuous data is not changed. Returns the points, float64, and log q(u | x) of the noise, shape `(n,)`, which
        must be subtracted from the log-density to get the bound on the log-probability of the levels.
        """
        x = x.double()
        if self.levels is None:
            return x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
        noise, log_q = self.noise(x, generator)
        return x + noise, log_q

    def to_model(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data-space points to model space: `(y, log|det dy/dx|)`, in the precision of `x`."""
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for transform in self.transforms:
            x, logdet = transform.forward(x)
            total = total + logdet
        return (x.flatten(1) if self.flatten else x), total

    @property
    def support(self) -> tuple[float, float] | None:
        """The interval in model space that contains all intensities of an image; None for vectors."""
        if self.levels is None:
            return None
        ends = torch.tensor([0.0, float(self.levels)], dtype=torch.float64).reshape(2, *[1] * len(self.shape))
        for transform in self.transforms:
            ends = transform.forward(ends)[0]
        return float(ends[0]), float(ends[1])

    def modes_to_model(self, modes: Modes) -> Modes:
        """Map Gaussian components to model space, float64. It is for vectors only, whose map is affine."""
        centers = self.to_model(modes.centers.double().reshape(-1, *self.shape))[0].flatten(1)
        origin = self.to_model(torch.zeros(1, *self.shape, dtype=torch.float64))[0].flatten()
        unit = torch.eye(len(origin), dtype=torch.float64).reshape(-1, *self.shape)
        linear = (self.to_model(unit)[0].flatten(1) - origin).T
        return Modes(centers, modes.weights.double(), linear @ modes.covariances.double() @ linear.T)

    def to_data(self, y: Tensor) -> Tensor:
        """Map model-space points to data space. Images are rounded down to levels and clamped to valid ones (uint8)."""
        x = y.reshape(len(y), *self.shape)
        for transform in reversed(self.transforms):
            x = transform.inverse(x)
        if self.levels is None:
            return x
        return x.floor().clamp(0, self.levels - 1).to(torch.uint8)

    @property
    def log_unit(self) -> float:
        """The log of the volume in data space of a unit of volume of `comparable` vectors."""
        if not self.standardized:
            return 0.0
        return -float(self.transforms[0].forward(torch.zeros(1, *self.shape, dtype=torch.float64))[1][0])

    def comparable(self, x: Tensor) -> Tensor:
        """Data-space points as float64 vectors `(n, d)` for metrics, with image levels scaled to [0, 1].

        Vectors of a dataset that asks for it are standardized with the mean and deviation of the training split.
        """
        if self.standardized:
            x = self.transforms[0].forward(x.double())[0]
        flat = x.flatten(1).double()
        return flat if self.levels is None else flat / (self.levels - 1)
