"""Layers that change the shape of images `(n, channels, height, width)`: squeezing, flattening, factoring out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..flow import Bijection


class Squeeze(Bijection):
    """Turns each 2x2 block of pixels into four channels (Dinh et al. 2017, section 3.6)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` to `(n, 4c, h/2, w/2)`."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, 4c, h/2, w/2)` to `(n, c, h, w)`."""
        return F.pixel_shuffle(y, 2), y.new_zeros(len(y))


class Flatten(Bijection):
    """Turns images of one shape into vectors."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c, h, w)` to `(n, c h w)`."""
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, c h w)` to `(n, c, h, w)`."""
        return y.reshape(-1, *self.shape), y.new_zeros(len(y))


class FactorOut(Bijection):
    """A step of the multiscale architecture (Dinh et al. 2017, section 3.6): it factors out half of the channels.

    The second half of the channels becomes latent, and the first half goes through `rest`. The output is flat,
    `(n, c h w)`, as the output of `rest` must be.
    """

    def __init__(self, rest: Bijection, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rest = rest
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        going, done = x.chunk(2, dim=1)
        z, logdet = self.rest(going)
        return torch.cat([z, done.flatten(1)], dim=1), logdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        z, done = y.chunk(2, dim=1)
        channels, height, width = self.shape
        going, logdet = self.rest.inverse(z)
        return torch.cat([going, done.reshape(-1, channels // 2, height, width)], dim=1), logdet

    def initialize(self, x: Tensor) -> None:
        """Initialize `rest` from the first half of the channels."""
        self.rest.initialize(x.chunk(2, dim=1)[0])
