"""Coupling layers: some coordinates move, by a map whose parameters come from the coordinates that stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flows.conditioners import Conditioner, Perceptron
from trilemma.plugins.flows.flow import Bijection, Halves, Pull
from trilemma.plugins.flows.transforms import Elementwise, Pure, Record


class Coupling(Bijection):
    """One coupling layer (Dinh et al. 2015, section 3.2).

    The coordinates from `split` on move, or those before it if `first_moves`; the conditioner maps those that stay,
    `(n, kept)`, to the parameters of the elementwise map, `(width, moved, n)`.
    """

    def __init__(self, split: int, first_moves: bool, elementwise: Elementwise, conditioner: Conditioner) -> None:
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
        first, second = x.T.tensor_split([self.split])
        kept, moving = (second, first) if self.first_moves else (first, second)
        moved, log_slopes = function(self.conditioner(kept.T), moving)
        y = torch.cat([moved, kept] if self.first_moves else [kept, moved])
        return y.T, log_slopes.sum(0)

    @property
    def recordable(self) -> bool:
        """Whether all that the layer is made of has its derivative written out."""
        return type(self.conditioner) is Perceptron and self.elementwise.written is not None

    def parts(self) -> list[Tensor]:
        """The trained tensors, in the order of `record`."""
        assert isinstance(self.conditioner, Perceptron)
        return self.conditioner.weights()

    def record(self, halves: Halves, parts: Sequence[Tensor]) -> tuple[Halves, Tensor | None, Pull]:
        """`forward` of points in halves, with its derivative."""
        conditioner, (function, constants) = self.conditioner, self.elementwise[3:]
        assert isinstance(conditioner, Perceptron)
        assert function is not None
        kept, moving = halves[::-1] if self.first_moves else halves
        params, pull_conditioner = conditioner.record(kept, parts)
        map_ = Record(function, params, moving, *constants)

        def pull(grads: Halves, grad_logdet: Tensor) -> tuple[Halves, list[Tensor]]:
            grad_kept, grad_moved = grads[::-1] if self.first_moves else grads
            grad_params, grad_moving, *_ = map_.backward(grad_moved, grad_logdet)
            through, grad_parts = pull_conditioner(grad_params)
            grad_kept = grad_kept + through
            return (grad_moving, grad_kept) if self.first_moves else (grad_kept, grad_moving), grad_parts

        moved, log_slopes = map_.outputs[:2]
        return (moved, kept) if self.first_moves else (kept, moved), log_slopes, pull


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
        return x.T.index_select(0, self.order).T, x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, 0)`."""
        return y.T.index_select(0, self.back).T, y.new_zeros(len(y))

    @property
    def recordable(self) -> bool:
        """Always."""
        return True

    def parts(self) -> list[Tensor]:
        """No trained tensors."""
        return []

    def record(self, halves: Halves, parts: Sequence[Tensor]) -> tuple[Halves, Tensor | None, Pull]:
        """`forward` of points in halves, with its derivative."""

        def reorder(halves: Halves, order: Tensor) -> Halves:
            first, second = torch.cat(halves).index_select(0, order).tensor_split([len(halves[0])])
            return first, second

        return reorder(halves, self.order), None, lambda grads, _: (reorder(grads, self.back), [])


def coupling_stack(
    d: int,
    transforms: int,
    elementwise: Elementwise,
    hidden: tuple[int, ...],
    *,
    octaves: int = 0,
    dropout: float = 0.0,
    shuffle: bool = True,
) -> list[Bijection]:
    """`transforms` coupling layers that move the two halves of the coordinates in turn; with `shuffle` the coordinates
    change halves, by fixed random permutations, after every second layer. Raises UnsupportedError for d < 2.
    """
    if d < 2:
        raise trilemma.UnsupportedError("coupling layers need at least 2 coordinates")
    split = d // 2
    layers: list[Bijection] = []
    for i in range(transforms):
        if shuffle and i % 2 == 0 and i > 0 and d > 2:
            layers.append(Permutation(torch.randperm(d)))
        first_moves = i % 2 == 1
        moved, kept = (split, d - split) if first_moves else (d - split, split)
        net = Perceptron(kept, moved, elementwise.width, hidden, octaves=octaves, dropout=dropout)
        layers.append(Coupling(split, first_moves, elementwise, net))
    return layers
