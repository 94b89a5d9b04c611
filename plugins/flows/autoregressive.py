"""Autoregressive layers: the parameters of the map of a coordinate come from the coordinates before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .conditioners import Masked
from .flow import Bijection
from .transforms import Elementwise


class Autoregressive(Bijection):
    """One autoregressive layer: `forward` takes one pass of the conditioner, `inverse` one pass per coordinate.

    Source: Papamakarios et al. 2017, section 3.1. Its inverse is the layer of Kingma et al. 2016.
    """

    def __init__(self, elementwise: Elementwise, conditioner: Masked) -> None:
        super().__init__()
        self.elementwise = elementwise
        self.conditioner = conditioner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        y, log_slopes = self.elementwise.forward(self.conditioner(x), x.T)
        return y.T, log_slopes.sum(0)

    @torch.no_grad()
    def start(self, x: Tensor, parameters: Callable[[Tensor], Tensor]) -> None:
        """Set the initial parameters to `parameters(x)`, `(width, d)`, for points `x`, `(n, d)`."""
        self.conditioner.layers()[-1].copy_(parameters(x).reshape(-1, 1))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`. After pass k the first k coordinates in the order are correct."""
        x = torch.zeros_like(y)
        log_slopes = torch.zeros_like(y.T)
        for _ in range(y.shape[1]):
            moved, log_slopes = self.elementwise.inverse(self.conditioner(x), y.T)
            x = moved.T
        return x, log_slopes.sum(0)


def autoregressive_stack(
    d: int,
    transforms: int,
    elementwise: Elementwise,
    hidden: tuple[int, ...],
    network: type[Masked] = Masked,
    *,
    octaves: int = 0,
    dropout: float = 0.0,
) -> list[Bijection]:
    """`transforms` autoregressive layers. Each has the reverse order of coordinates of the layer before it."""
    order = torch.arange(d)
    return [
        Autoregressive(
            elementwise,
            network(
                order if i % 2 == 0 else order.flip(0), elementwise.width, hidden, octaves=octaves, dropout=dropout
            ),
        )
        for i in range(transforms)
    ]
