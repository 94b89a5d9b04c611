"""Coupling layers on images `(n, channels, height, width)`, with channel-wise and with checkerboard masks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..conditioners import Conditioner
from ..flow import Bijection
from ..marginals import points_last
from ..transforms import Elementwise, Pure

Network = Callable[[int, int], Conditioner]
"""Makes the network of a coupling layer, from the number of input channels and of output channels."""


class ChannelCoupling(Bijection):
    """A coupling layer with a channel-wise mask (Dinh et al. 2017, section 3.4).

    One half of the channels moves, by a map whose parameters come from the other half. It is the second half (also
    Kingma & Dhariwal 2018, table 1), or the first half if `first` is set.
    """

    def __init__(self, channels: int, elementwise: Elementwise, network: Network, *, first: bool = False) -> None:
        super().__init__()
        self.elementwise, self.first = elementwise, first
        self.conditioner = network(channels // 2, channels - channels // 2)
        if channels % 2:
            raise ValueError(f"{channels} channels do not have two halves")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        halves = points_last(x).chunk(2)
        moving, kept = halves if self.first else halves[::-1]
        moved, log_slopes = function(self.conditioner(kept), moving)
        joined = torch.cat([moved, kept] if self.first else [kept, moved])
        return joined.movedim(-1, 0), log_slopes.flatten(0, -2).sum(0)


class CheckerboardCoupling(Bijection):
    """A coupling layer with a checkerboard mask (Dinh et al. 2017, section 3.4 and eq. 9).

    The pixels (i, j) with odd i + j move, or those with even i + j if `even` is set. The network sees the image with 0
    at the pixels that move.
    """

    moves: Tensor

    def __init__(
        self, shape: tuple[int, int, int], elementwise: Elementwise, network: Network, *, even: bool = False
    ) -> None:
        super().__init__()
        self.elementwise = elementwise
        channels, height, width = shape
        self.conditioner = network(channels, channels)
        odd = (torch.arange(height).unsqueeze(1) + torch.arange(width)) % 2 == 1
        self.register_buffer("moves", (~odd if even else odd).unsqueeze(2), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        x = points_last(x)
        moved, log_slopes = function(self.conditioner(x.masked_fill(self.moves, 0)), x)
        joined, log_slopes = torch.where(self.moves, moved, x), log_slopes.masked_fill(~self.moves, 0)
        return joined.movedim(-1, 0), log_slopes.flatten(0, -2).sum(0)
