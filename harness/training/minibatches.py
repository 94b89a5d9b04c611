"""The minibatches of a training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts.checkpoints import State
from ..contracts.model import Context, Split


class Shuffled:
    """An iterator without end over the indices of minibatches, from one shuffled pass over `n` points to the next.

    Each pass drops a last batch that is too short. A pass is shuffled when its first batch is asked for.
    """

    def __init__(self, n: int, batch_size: int, generator: torch.Generator) -> None:
        self._n, self._size, self._generator = n, min(n, batch_size), generator
        self._order = torch.empty(0, dtype=torch.long)
        self._next = 0

    def __iter__(self) -> Shuffled:
        return self

    def __next__(self) -> Tensor:
        if self._next + self._size > len(self._order):
            self._order = torch.randperm(self._n, generator=self._generator, device=self._generator.device)
            self._next = 0
        batch = self._order[self._next : self._next + self._size]
        self._next += self._size
        return batch

    def state(self) -> State:
        """The present pass, and the place in it."""
        return {"order": self._order, "next": self._next}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self._order, self._next = state["order"].to(self._generator.device), state["next"]


class Minibatches:
    """An iterator without end over minibatches `(n, *shape)`. Those of image data are dequantized again each time."""

    def __init__(self, train: Split, batch_size: int, ctx: Context, seed: int) -> None:
        self._train, self._device = train, ctx.device
        self._indices = Shuffled(len(train), batch_size, ctx.generator)
        self._points = train.x.to(ctx.device) if train.redraw is None else None
        self._noise = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Minibatches:
        return self

    def __next__(self) -> Tensor:
        index = next(self._indices)
        if self._points is not None:
            return self._points[index]
        assert self._train.redraw is not None
        return self._train.redraw(index.cpu(), self._noise).to(self._device)

    def state(self) -> State:
        """The place in the pass, and the generator of the dequantization noise."""
        return {"indices": self._indices.state(), "noise": self._noise.get_state()}

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        self._indices.load_state(state["indices"])
        self._noise.set_state(state["noise"])
