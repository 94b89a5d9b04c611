"""A normalizing flow: invertible layers between data and a base distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .base import Base

CHUNK = 2048
"""Number of points that a CPU evaluates at once without gradients, so that intermediate results stay in the cache."""


class Bijection(nn.Module, ABC):
    """An invertible map of points `(n, *shape)` with its log-determinant `(n,)`."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""

    def initialize(self, x: Tensor) -> None:
        """Data-dependent initialization from one batch of inputs."""
        return None


class Inverse(Bijection):
    """The inverse of a bijection, as a bijection."""

    def __init__(self, layer: Bijection) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self.layer.inverse(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        value: tuple[Tensor, Tensor] = self.layer(y)
        return value


class Composition(Bijection):
    """Bijections, one after the other."""

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def parts(self) -> list[Bijection]:
        """The layers, from first to last."""
        return [layer for layer in self.layers if isinstance(layer, Bijection)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        total = x.new_zeros(len(x))
        for layer in self.parts():
            x, logdet = layer(x)
            total = total + logdet
        return x, total

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        total = y.new_zeros(len(y))
        for layer in reversed(self.parts()):
            y, logdet = layer.inverse(y)
            total = total + logdet
        return y, total

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Initialize each layer from the outputs of the layers before it on the batch `x`."""
        for layer in self.parts():
            layer.initialize(x)
            x = layer(x)[0]


class DensityEstimator(nn.Module, ABC):
    """A distribution that a flow model trains. It gives densities and draws samples."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, `(n,)`, of points `(n, *shape)`."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` points `(n, *shape)` and their log-densities `(n,)`."""

    @abstractmethod
    def initialize(self, x: Tensor) -> None:
        """Data-dependent initialization from one batch of points `(n, *shape)`."""


class Flow(Composition, DensityEstimator):
    """A composition of bijections that maps data to a base distribution."""

    def __init__(self, layers: Iterable[Bijection], base: Base) -> None:
        super().__init__(layers)
        self.base = base

    def log_prob(self, x: Tensor) -> Tensor:
        """log p_z(f(x)) + log|det df/dx|, in nats, shape `(n,)`."""
        if torch.is_grad_enabled():
            return self._log_prob(x)
        return torch.cat([self._log_prob(part) for part in chunks(x)])

    def _log_prob(self, x: Tensor) -> Tensor:
        z, logdet = self(x)
        value: Tensor = logdet + self.base.log_prob(z)
        return value

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` points and their log-densities, differentiable in the layers' parameters."""
        parts = [self._sample(z) for z in chunks(self.base.sample(n, generator))]
        x, log_prob = (torch.cat(values) for values in zip(*parts, strict=True))
        return x, log_prob

    def _sample(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.inverse(z)
        return x, self.base.log_prob(z) - logdet


def chunks(x: Tensor) -> tuple[Tensor, ...]:
    """The points in parts of `CHUNK`, on a CPU without gradients; otherwise all points in one part."""
    return (x,) if torch.is_grad_enabled() or x.is_cuda else torch.split(x, CHUNK)
