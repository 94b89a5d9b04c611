"""The points of a chain of a sampler, at steps that lie ever further apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

APART = 1.35
"""The ratio of neighboring steps that are kept."""


class Chain:
    """Keeps the points that a sampler shows, at steps 0, 1, 2, 3, 5, 7, ..., and the number of the last step.

    A sampler may draw its points in several parts, each with a chain from step 0.
    """

    def __init__(self) -> None:
        self.last = 0
        self._parts: dict[int, list[Tensor]] = {}
        self._next = 0

    def show(self, steps: int, x: Tensor) -> None:
        """Keep the points after `steps` steps, if it is the turn of this step."""
        if steps == 0:
            self._next = 0
        self.last = max(self.last, steps)
        if steps >= self._next:
            self._parts.setdefault(steps, []).append(x.detach().double().cpu())
            self._next = max(steps + 1, math.ceil(steps * APART))

    def points(self, end: Tensor) -> list[tuple[int, Tensor]]:
        """Pairs of a number of steps and the points then. The last are `end`, the samples themselves."""
        kept = [(steps, torch.cat(parts)) for steps, parts in sorted(self._parts.items()) if steps < self.last]
        return [*kept, (self.last, end)]
