"""Coupling layers: half of the coordinates move, by a map whose parameters come from the half that stays."""

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
"""The coordinates of points in two halves, `(d // 2, n)` and `(d - d // 2, n)`."""


class Couplings(Bijection):
    """`count` coupling layers (Dinh et al. 2015, section 3.2) that move the two halves of the coordinates in turn.

    A layer with an even number moves the second half, a layer with an odd number the first. An MLP maps the half that
    stays to the parameters of the elementwise map that moves the other half. With `shuffle`, a fixed random permutation
    of the coordinates comes after every second layer. Raises UnsupportedError for d < 2.
    """

    network: type[Perceptron] = Perceptron
    """The class of the networks of the layers."""
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
        # The weights of networks of the same size are stacked, because an optimizer is faster on few large tensors than
        # on many small ones. If the halves differ in size, there is one stack for even and one for odd layers.
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
        """Set the initial parameters of each layer to `parameters(moving)`, `(width, moved)`.

        `moving` holds the coordinates that the layer moves, `(n, moved)`, after the layers before it have mapped the
        points `x`.
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
        """The number and the network of each coupling layer, with its slices of the tensors `stacked`."""
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
        """The inputs of layer `number`, from the outputs of the layer before it; with `back`, the reverse."""
        if self.orders is None or number % 2 or number == 0:
            return halves
        order = self.orders[number // 2 - 1]
        return self.halves(torch.cat(halves).index_select(0, order.argsort() if back else order))


def in_turn(number: int, halves: tuple[T, T]) -> tuple[T, T]:
    """The half that stays in layer `number` and the half that moves, from the first and the second half.

    Applied to the half that stays and the half that moves, it gives back the first and the second half.
    """
    return halves[::-1] if number % 2 else halves
