"""The checkerboard, a uniform distribution on squares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import trilemma

_TOLERANCE = 1e-6  # float32 rounding must not move a draw out of its square


def on_checkerboard(x: Tensor) -> Tensor:
    """Whether the points (n, 2) lie on the black squares of side 2 in (-4, 4)^2, edges included."""
    inside = torch.zeros(len(x), dtype=torch.bool)
    for horizontal in (-_TOLERANCE, _TOLERANCE):
        for vertical in (-_TOLERANCE, _TOLERANCE):
            moved = x + torch.tensor([horizontal, vertical], dtype=x.dtype)
            black = torch.floor(moved / 2).sum(1).remainder(2) == 0
            inside |= black & (moved.abs() < 4).all(1)
    return inside


class Checkerboard(trilemma.Distribution):
    """The uniform distribution on the eight black squares of a 4 x 4 checkerboard over (-4, 4)^2.

    A square has side 2. Points within 1e-6 of a black square count as on it. Outside, the log-density is minus
    infinity.
    """

    name = "checkerboard"
    title = "Checkerboard (FFJORD)"
    citation = "Grathwohl et al. 2019, FFJORD"

    @property
    def entropy(self) -> float:
        return math.log(32)

    @property
    def entropy_error(self) -> float:
        return 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        column = torch.randint(4, (n,), generator=generator)
        row = 2 * torch.randint(2, (n,), generator=generator) + column.remainder(2)
        corner = 2 * torch.stack([column, row], 1).double() - 4
        return (corner + 2 * torch.rand(n, 2, generator=generator, dtype=torch.float64)).float()

    def log_prob(self, x: Tensor) -> Tensor:
        inside = on_checkerboard(x.double())
        return torch.full((len(x),), -math.log(32), dtype=torch.float64).masked_fill(~inside, -math.inf)
