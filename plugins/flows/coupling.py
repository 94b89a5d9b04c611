"""Coupling layers: some coordinates move, by a map whose parameters come from the coordinates that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

import trilemma

from .conditioners import Perceptron
from .flow import Bijection
from .transforms import Elementwise

T = TypeVar("T")

Halves = tuple[Tensor, Tensor]
"""The coordinates of points in two parts, `(d // 2, n)` and `(d - d // 2, n)`."""


class Couplings(Bijection):
    """`count` coupling layers (Dinh et al. 2015, section 3.2) that move the two halves of the coordinates in turn.

    An even layer moves the second half, an odd one the first; an MLP maps the half that stays to the parameters of the
    elementwise map of the other. With `shuffle` the coordinates change halves, by fixed random permutations, after
    every second layer. Raises UnsupportedError for d < 2.
    """

    network: type[Perceptron] = Perceptron
    """The class of the layers' networks."""
    orders: Tensor | None

    def __init__(
        self,
        d: int,
        count: int,
        elementwise: Elementwise,
        hidden: Sequence[int],
        *,
        octaves: int = 0,
        dropout: float = 0.0,
        shuffle: bool = True,
    ) -> None:
        if d < 2:
            raise trilemma.UnsupportedError("coupling layers need at least 2 coordinates")
        super().__init__()
        self.elementwise = elementwise
        first, second = self.sizes = [d // 2, d - d // 2]
        self.nets = nn.ModuleList(
            self.network(
                *in_turn(number, (first, second)),
                elementwise.width,
                hidden,
                octaves=octaves,
                dropout=dropout,
                hold=False,
            )
            for number in range(count)
        )
        # The layers of networks of one size are stacked: an optimizer takes longer over many small tensors than over
        # their numbers. With halves of two sizes, those of every second layer are.
        self.stacks = 2 if d % 2 and count > 1 else 1
        self.stacked = nn.ParameterList(
            tensor
            for turn, net in zip(range(self.stacks), self.networks(), strict=False)
            for tensor in net.initial(len(range(turn, count, self.stacks)))
        )
        shuffles = (count - 1) // 2 if shuffle and d > 2 else 0
        self.register_buffer("orders", torch.stack([torch.randperm(d) for _ in range(shuffles)]) if shuffles else None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        total, halves = x.new_zeros(len(x)), self.halves(x.T)
        for number, net, layers in self.each(self.stacked):
            kept, moving = in_turn(number, self.shuffled(number, halves))
            moved, log_slopes = self.elementwise.forward(net(kept.T, layers), moving)
            halves, total = in_turn(number, (kept, moved)), total + log_slopes.sum(0)
        return torch.cat(halves).T, total

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`(x, log|det dx/dy|)`."""
        total, halves = y.new_zeros(len(y)), self.halves(y.T)
        for number, net, layers in reversed(self.each(self.stacked)):
            kept, moved = in_turn(number, halves)
            moving, log_slopes = self.elementwise.inverse(net(kept.T, layers), moved)
            halves = self.shuffled(number, in_turn(number, (kept, moving)), back=True)
            total = total + log_slopes.sum(0)
        return torch.cat(halves).T, total

    @torch.no_grad()
    def start(self, x: Tensor, parameters: Callable[[Tensor], Tensor]) -> None:
        """Let each layer start at the parameters, `(width, moved)`, that a function of the coordinates it moves gives,
        points `(n, moved)` that the layers before it make of `x`.
        """
        halves = self.halves(x.T)
        for number, net, layers in self.each(self.stacked):
            kept, moving = in_turn(number, self.shuffled(number, halves))
            layers[-1].copy_(parameters(moving.T).reshape(-1, 1))
            halves = in_turn(number, (kept, self.elementwise.forward(net(kept.T, layers), moving)[0]))

    def networks(self) -> list[Perceptron]:
        """The network of each layer."""
        return [net for net in self.nets if isinstance(net, Perceptron)]

    def each(self, stacked: Iterable[Tensor]) -> list[tuple[int, Perceptron, Sequence[Tensor]]]:
        """The number and the network of each coupling layer, with its slices of tensors that are like `stacked`."""
        slices = [tensor.unbind() for tensor in stacked]
        size = len(slices) // self.stacks
        stacks = [[*zip(*slices[i * size : (i + 1) * size], strict=True)] for i in range(self.stacks)]
        return [
            (number, net, stacks[number % self.stacks][number // self.stacks])
            for number, net in enumerate(self.networks())
        ]

    def halves(self, coordinates: Tensor) -> Halves:
        """The two halves of coordinates `(d, n)`."""
        first, second = coordinates.split_with_sizes(self.sizes)
        return first, second

    def shuffled(self, number: int, halves: Halves, *, back: bool = False) -> Halves:
        """What layer `number` is given of the halves that the layer before it gives, or the way back."""
        if self.orders is None or number % 2 or number == 0:
            return halves
        order = self.orders[number // 2 - 1]
        return self.halves(torch.cat(halves).index_select(0, order.argsort() if back else order))


def in_turn(number: int, halves: tuple[T, T]) -> tuple[T, T]:
    """The half that stays in layer `number` and the one that moves, from the first and the second; or back."""
    return halves[::-1] if number % 2 else halves
