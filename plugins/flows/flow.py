"""A normalizing flow: a chain of invertible layers between data and a standard normal."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Bijection(nn.Module, ABC):
    """An invertible map of points `(n, d)` with its log-determinant `(n,)`."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""


class Flow(Bijection):
    """A chain of bijections, from data forward to the standard normal."""

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def chain(self) -> list[Bijection]:
        """The layers from data to the standard normal."""
        return [layer for layer in self.layers if isinstance(layer, Bijection)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data `(n, d)` to `(z, log|det dz/dx|)`."""
        total = x.new_zeros(len(x))
        for layer in self.chain():
            x, logdet = layer(x)
            total = total + logdet
        return x, total

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Base points `(n, d)` to `(x, log|det dx/dy|)`."""
        total = y.new_zeros(len(y))
        for layer in reversed(self.chain()):
            y, logdet = layer.inverse(y)
            total = total + logdet
        return y, total

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(f(x); 0, I) + log|det df/dx|, in nats, shape `(n,)`."""
        z, logdet = self(x)
        value: Tensor = logdet - 0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
        return value

    def sample(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """`n` points, shape `(n, d)`."""
        z = torch.randn((n, d), generator=generator, device=generator.device)
        return self.inverse(z)[0]
