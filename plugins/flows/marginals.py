"""A layer of one spline for each coordinate, which can make marginals normal before the other layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .flow import Bijection
from .fused_maps import fused_rational_quadratic
from .gaussianize import gaussianizing_spline
from .transforms import Pure


def points_last(x: Tensor) -> Tensor:
    """`(n, *shape)` to `(*shape, n)`, so that operations on parameters or channels are vectorized over points."""
    return x.movedim(0, -1).contiguous()


class Marginals(Bijection):
    """One spline for each coordinate of points `(n, *shape)`, the same for all points.

    `initialize` starts it as the map that makes the marginals of a batch normal, as in one layer of a Gaussianization
    flow (Meng et al. 2020, section 4.1).
    """

    def __init__(self, shape: tuple[int, ...], bins: int, interval: float) -> None:
        super().__init__()
        self.bins, self.interval = bins, interval
        self.elementwise = fused_rational_quadratic(bins, interval)
        self.params = nn.Parameter(torch.zeros(self.elementwise.width, *shape, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from the marginals of this batch."""
        self.params.copy_(gaussianizing_spline(x.flatten(1), self.bins, self.interval).reshape(self.params.shape))

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        moved, log_slopes = function(self.params, points_last(x))
        return moved.movedim(-1, 0), log_slopes.flatten(0, -2).sum(0)
