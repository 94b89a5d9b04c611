"""A normalizing flow: a chain of invertible layers between data and a base law."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from trilemma.plugins.flows.base import Base
from trilemma.plugins.flows.transforms import is_plain

CHUNK = 2048
"""Points that a CPU evaluates at once without gradients: what the layers make of them stays in the cache."""

Halves = tuple[Tensor, Tensor]
"""The coordinates of points in two parts, `(split, n)` and `(d - split, n)`."""

Pull = Callable[[Halves, Tensor], tuple[Halves, list[Tensor]]]
"""From the gradients of a layer's result and of its log-determinant to those of its input and of its parts."""


class Bijection(nn.Module, ABC):
    """An invertible map of points `(n, *shape)` with its log-determinant `(n,)`."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""

    @property
    def recordable(self) -> bool:
        """Whether `parts` and `record` are there: a chain of such layers is one step for autograd."""
        return False

    def parts(self) -> list[Tensor]:
        """The trained tensors, in the order of `record`'s gradients."""
        raise NotImplementedError

    def record(self, halves: Halves, parts: Sequence[Tensor]) -> tuple[Halves, Tensor | None, Pull]:
        """`forward` of points in halves, the logarithms of its slopes, `(k, n)`, if they are not 0, its derivative."""
        raise NotImplementedError

    def initialize(self, x: Tensor) -> None:
        """Data-dependent initialisation from one batch of inputs."""
        return None


class Inverse(Bijection):
    """The same map the other way round."""

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


class Recorded(torch.autograd.Function):
    """Layers that record their derivatives, as one step for autograd: `(x, *parts) -> (y, log|det dy/dx|)`.

    Autograd, and a hook of a module, would cost more at each layer than the layer itself.
    """

    @staticmethod
    def forward(
        ctx: Any, layers: list[Bijection], split: int, counts: list[int], x: Tensor, *parts: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.sizes = split, x.shape[1] - split
        halves: Any = torch.split(x.T, ctx.sizes)
        ctx.pulls, slopes, start = [], [], 0
        for layer, count in zip(layers, counts, strict=True):
            halves, log_slopes, pull = layer.record(halves, parts[start : start + count])
            ctx.pulls.append(pull)
            start += count
            if log_slopes is not None:
                slopes.append(log_slopes)
        return torch.cat(halves).T, torch.cat(slopes).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        grads: Any = torch.split(grad_y.T, ctx.sizes)
        found = []
        for pull in reversed(ctx.pulls):
            grads, grad_parts = pull(grads, grad_logdet)
            found.append(grad_parts)
        return None, None, None, torch.cat(grads).T, *chain.from_iterable(reversed(found))


class Chain(Bijection):
    """Bijections, one after the other."""

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        splits = {layer.split for layer in self.chain() if hasattr(layer, "split")}
        recordable = all(layer.recordable for layer in self.chain())
        self._recorded_split = splits.pop() if recordable and len(splits) == 1 else None

    def chain(self) -> list[Bijection]:
        """The layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Bijection)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        layers = self.chain()
        if self._recorded_split is not None and torch.is_grad_enabled() and is_plain():
            parts = [layer.parts() for layer in layers]
            recorded: tuple[Tensor, Tensor] = Recorded.apply(  # type: ignore[no-untyped-call]
                layers, self._recorded_split, [*map(len, parts)], x, *chain.from_iterable(parts)
            )
            return recorded
        total = x.new_zeros(len(x))
        for layer in layers:
            x, logdet = layer(x)
            total = total + logdet
        return x, total

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        total = y.new_zeros(len(y))
        for layer in reversed(self.chain()):
            y, logdet = layer.inverse(y)
            total = total + logdet
        return y, total

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Initialise each layer from what the layers before it make of `x`."""
        for layer in self.chain():
            layer.initialize(x)
            x = layer(x)[0]


class Density(nn.Module, ABC):
    """A law that a flow model trains: densities and draws."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, `(n,)`, of points `(n, *shape)`."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` points `(n, *shape)` and their log-densities `(n,)`."""

    @abstractmethod
    def initialize(self, x: Tensor) -> None:
        """Data-dependent initialisation from one batch."""


class Flow(Chain, Density):
    """A chain of bijections, from data forward to a base law."""

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
    """The points in parts that suit the cache, where there are no gradients; else in one."""
    return (x,) if torch.is_grad_enabled() or x.is_cuda else torch.split(x, CHUNK)
