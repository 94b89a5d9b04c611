"""Base distributions of flows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Base(nn.Module, ABC):
    """A distribution of points of one shape, with an exact density."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats, `(n,)`, of points `(n, *shape)`."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` points, `(n, *shape)`, in single precision."""


class StandardNormal(Base):
    """N(0, I) on points of any shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def log_prob(self, z: Tensor) -> Tensor:
        d = math.prod(self.shape)
        return torch.rsub((z * z).flatten(1).sum(1), -0.5 * d * math.log(2 * math.pi), alpha=0.5)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn((n, *self.shape), generator=generator, device=generator.device)


class NormalMixture(Base):
    """A mixture of `components` diagonal Gaussians with learned weights, means and scales, on points `(d,)`."""

    def __init__(self, d: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, d))
        self.log_scales = nn.Parameter(torch.full((components, d), -0.5))

    def log_prob(self, z: Tensor) -> Tensor:
        d = z.shape[1]
        scaled = (z.unsqueeze(1) - self.means) * (-self.log_scales).exp()
        parts = -0.5 * (scaled.square().sum(2) + d * math.log(2 * math.pi)) - self.log_scales.sum(1)
        return torch.logsumexp(parts + self.logits.log_softmax(0), dim=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial(self.logits.softmax(0), n, replacement=True, generator=generator)
        noise = torch.randn((n, self.means.shape[1]), generator=generator, device=generator.device)
        return self.means[chosen] + self.log_scales[chosen].exp() * noise
