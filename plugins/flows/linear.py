"""Linear layers of Glow (Kingma & Dhariwal 2018) and RealNVP: normalization and invertible mixing of channels.

The channels are dimension 1 of points `(n, c, *places)`. For vectors there is one place, and the channels are the
coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .flow import Bijection
from .transforms import soft_clip

MAX_LOG_SCALE = 6.0
"""Bound of the soft clip on log-scales, so that scales lie between 1/400 and 400."""


class ActNorm(Bijection):
    """y = x exp(s) + b, with one scale and one shift for each channel (table 1).

    `initialize` gives every channel of the first batch mean 0 and variance 1 (section 3.1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return x * _columns(self._log_scale().exp(), x) + _columns(self.shift, x), self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return (y - _columns(self.shift, y)) * _columns((-self._log_scale()).exp(), y), -self._logdet(y)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set scales and shifts so that each channel of this batch has mean 0 and variance 1."""
        values = x.transpose(0, 1).flatten(1)
        wanted = -(values.std(1) + 1e-6).log().clamp(-MAX_LOG_SCALE / 2, MAX_LOG_SCALE / 2)
        self.log_scale.copy_(wanted / (1 - wanted.abs() / MAX_LOG_SCALE))  # the inverse of the soft clip
        self.shift.copy_(-values.mean(1) * wanted.exp())

    def _log_scale(self) -> Tensor:
        return soft_clip(self.log_scale, MAX_LOG_SCALE)

    def _logdet(self, x: Tensor) -> Tensor:
        return (self._log_scale().sum() * math.prod(x.shape[2:])).expand(len(x))


class BatchNorm(Bijection):
    """y = (x - m) / sqrt(v + eps), with a mean m and a variance v for each channel (Dinh et al. 2017, section 3.7).

    In training, m and v are moving averages that include the present batch, and the gradient goes through the
    statistics of the batch alone (appendix E). Otherwise they are the averages that training has left.
    """

    mean: Tensor
    variance: Tensor
    MOMENTUM = 0.9
    """Weight of the averages before the present batch."""
    EPS = 1e-4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        mean, variance = self.mean, self.variance
        if self.training:
            values = x.transpose(0, 1).flatten(1)
            of_batch = torch.stack([values.mean(1), values.var(1, correction=0)])
            mean, variance = torch.lerp(of_batch, torch.stack([mean, variance]), self.MOMENTUM)
            self.mean, self.variance = mean.detach(), variance.detach()
        scale = (variance + self.EPS).rsqrt()
        return (x - _columns(mean, x)) * _columns(scale, x), self._logdet(scale, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`, with the averages as they are."""
        scale = (self.variance + self.EPS).rsqrt()
        return y / _columns(scale, y) + _columns(self.mean, y), -self._logdet(scale, y)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from the mean and variance of this batch."""
        values = x.transpose(0, 1).flatten(1)
        self.mean, self.variance = values.mean(1), values.var(1, correction=0)

    def _logdet(self, scale: Tensor, x: Tensor) -> Tensor:
        return (scale.log().sum() * math.prod(x.shape[2:])).expand(len(x))


def _columns(values: Tensor, x: Tensor) -> Tensor:
    """Values of the channels, `(c,)`, in a shape that broadcasts against points `(n, c, *places)`."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


class Scaling(Bijection):
    """y = x exp(s), with one scale for each coordinate (Dinh et al. 2015, section 3.3)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        log_scale = soft_clip(self.log_scale, MAX_LOG_SCALE)
        return x * log_scale.exp(), log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        log_scale = soft_clip(self.log_scale, MAX_LOG_SCALE)
        return y * (-log_scale).exp(), -log_scale.sum().expand(len(y))


class Permuted(Bijection):
    """The channels in another order, which is fixed."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    @classmethod
    def shuffled(cls, channels: int) -> Permuted:
        """A random order."""
        return cls(torch.randperm(channels))

    @classmethod
    def reversed(cls, channels: int) -> Permuted:
        """The reverse order."""
        return cls(torch.arange(channels).flip(0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`, which is 0."""
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`, which is 0."""
        return y.index_select(1, self.order.argsort()), y.new_zeros(len(y))


class LULinear(Bijection):
    """y = W x over the channels with W = P L (U + diag(s)): the LU-decomposed 1x1 convolution (eqs. 9 to 11).

    P is a fixed permutation, L is unit lower triangular, and U is strictly upper triangular. The signs of s are fixed.
    W starts as a random rotation.
    """

    permutation: Tensor
    signs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", p)
        self.register_buffer("signs", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(s)."""
        size = len(self.signs)
        lower = self.lower.tril(-1) + torch.eye(size, device=self.lower.device, dtype=self.lower.dtype)
        return lower, self.upper.triu(1) + torch.diag(self.signs * self.log_diagonal.exp())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        lower, upper = self.factors()
        weight = self.permutation @ lower @ upper
        y = F.linear(x, weight) if x.ndim == 2 else torch.matmul(weight, x.flatten(2)).reshape(x.shape)
        return y, self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        lower, upper = self.factors()
        columns = y.transpose(0, 1).flatten(1)
        columns = torch.linalg.solve_triangular(lower, self.permutation.T @ columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        x = columns.reshape(y.shape[1], len(y), *y.shape[2:]).transpose(0, 1)
        return x, -self._logdet(y)

    def _logdet(self, x: Tensor) -> Tensor:
        return (self.log_diagonal.sum() * math.prod(x.shape[2:])).expand(len(x))
