"""Densities on a grid in two dimensions: their mass, and whether samples are drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SURE = 5.0  # standard errors that are no chance
LEAST_NATS = 0.05  # a smaller difference of mean log-densities may be numerical error
LEAST_SHARE = 0.05  # a smaller share of samples in the wrong place may be numerical error
_BLOCKS = 20  # the blocks along a side in which samples are counted


@dataclass(frozen=True)
class Grid:
    """A density at the centers of the cells of a square grid.

    `axes` are the centers along both coordinates, `values` `(n, n)` the density with 0 where it is not finite, and
    `wild` the points `(k, 2)` where it is not.
    """

    axes: tuple[Tensor, Tensor]
    values: Tensor
    wild: Tensor

    @classmethod
    def of(cls, log_density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, per_side: int) -> Grid:
        """The grid of a density from `low` to `high`, both `(2,)`."""
        steps = (torch.arange(per_side, dtype=torch.float64) + 0.5) / per_side
        axes = low[0] + (high[0] - low[0]) * steps, low[1] + (high[1] - low[1]) * steps
        points = torch.cartesian_prod(*axes)
        values = log_density(points).double().exp()
        bad = ~torch.isfinite(values)
        return cls(axes, values.masked_fill(bad, 0.0).reshape(per_side, per_side), points[bad])

    @property
    def cell(self) -> float:
        """The area of a cell."""
        return float((self.axes[0][1] - self.axes[0][0]) * (self.axes[1][1] - self.axes[1][0]))

    @property
    def mass(self) -> float:
        """The integral of the density over the grid."""
        return float(self.values.sum()) * self.cell

    @property
    def where_wild(self) -> str:
        """Where the density is NaN or +inf, in words; "" if nowhere."""
        if not len(self.wild):
            return ""
        nearest = self.wild[self.wild.norm(dim=1).argmin()]
        share = len(self.wild) / self.values.numel()
        return (
            f"log_prob is NaN or +inf at {share:.2%} of the grid, nearest to 0 at ({nearest[0]:.2f}, {nearest[1]:.2f})"
        )

    def mean_log(self) -> float:
        """The mean of the log-density under the density itself."""
        p = self.values / self.values.sum()
        return float((p * self.values.clamp_min(1e-300).log()).sum())

    def shares(self) -> Tensor:
        """The mass of each block, as a share of all."""
        return _in_blocks(self.values) / self.values.sum()

    def counts(self, x: Tensor) -> Tensor:
        """The numbers of points `(n, 2)` in each block; points outside the grid are left out."""
        n = len(self.axes[0])
        index, inside = self._index(x)
        index = index[inside]
        return _in_blocks(torch.bincount(index[:, 0] * n + index[:, 1], minlength=n * n).double().reshape(n, n))

    def _index(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cells of points, `(n, 2)`, and which of the points are on the grid, `(n,)`."""
        index = torch.stack(
            [((x[:, i].double() - axis[0]) / (axis[1] - axis[0]) + 0.5).floor() for i, axis in enumerate(self.axes)], 1
        )
        return index.long(), ((index >= 0) & (index < len(self.axes[0]))).all(1)

    def disagreement(self, x: Tensor, log_density: Tensor) -> str:
        """Why the points `x` (n, 2), with these log-densities, are not drawn from the density; "" if they may be.

        Two tests, each of which chance fails in fewer than one case of a million: the mean log-density of the points
        against that of the density, and the numbers of points in blocks against their expectations.
        """
        n = len(x)
        if bool((log_density == -torch.inf).any()):
            return f"{float((log_density == -torch.inf).double().mean()):.1%} of the samples are where the density is 0"
        inside = log_density[self._index(x)[1]]  # far tails are not on the grid
        off = float(inside.mean()) - self.mean_log()
        error = float(inside.std()) / math.sqrt(n)
        if abs(off) > SURE * error + LEAST_NATS:
            kind = "narrower" if off > 0 else "wider"
            return (
                f"the mean log-density of {n} samples is {off:+.2f} nats off that of the density (standard error "
                f"{error:.2f}): the samples are {kind} than the density"
            )
        shares, counts = self.shares(), self.counts(x)
        excess = (counts / n - shares).clamp_min(0)  # the share of samples that would have to be elsewhere
        by_chance = float((shares * (1 - shares) / (2 * math.pi * n)).sqrt().sum())
        spread = math.sqrt((0.5 - 0.5 / math.pi) / n)  # the counts of blocks are negatively correlated
        moved = float(excess.sum())
        if moved > by_chance + SURE * spread + LEAST_SHARE:
            block = int(excess.argmax())
            size = len(self.axes[0]) // _BLOCKS
            parts = zip(self.axes, divmod(block, _BLOCKS), strict=True)
            x0, x1 = (float(axis[part * size + size // 2]) for axis, part in parts)
            return (
                f"{moved:.0%} of {n} samples are where the density has no such mass (chance explains {by_chance:.0%}), "
                f"most of them near ({x0:.2f}, {x1:.2f})"
            )
        return ""


def _in_blocks(values: Tensor) -> Tensor:
    size = len(values) // _BLOCKS
    return values.reshape(_BLOCKS, size, _BLOCKS, size).sum((1, 3)).flatten()
