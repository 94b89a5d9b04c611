"""Coupling layers: some coordinates move, by a map whose parameters come from the coordinates that stay."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trilemma.plugins.flows.flow import Bijection
from trilemma.plugins.flows.transforms import Elementwise, Pure


class Coupling(Bijection):
    """One coupling layer (Dinh et al. 2015, section 3.2).

    The coordinates from `split` on move, or those before it if `first_moves`; the conditioner maps those that stay,
    `(n, kept)`, to the parameters of the elementwise map, `(n, width * moved)`.
    """

    def __init__(self, split: int, first_moves: bool, elementwise: Elementwise, conditioner: nn.Module) -> None:
        super().__init__()
        self.split, self.first_moves = split, first_moves
        self.elementwise = elementwise
        self.conditioner = conditioner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        return self._move(self.elementwise.forward, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        return self._move(self.elementwise.inverse, y)

    def _move(self, function: Pure, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.tensor_split([self.split], dim=1)
        kept, moving = (second, first) if self.first_moves else (first, second)
        params = self.conditioner(kept).unflatten(1, (self.elementwise.width, -1))
        moved, logdet = function(params, moving)
        return torch.cat([moved, kept] if self.first_moves else [kept, moved], dim=1), logdet


class Permutation(Bijection):
    """Reorders the coordinates: y[:, i] = x[:, order[i]]."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, 0)`."""
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, 0)`."""
        return y.index_select(1, self.back), y.new_zeros(len(y))
