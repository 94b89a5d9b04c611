"""Whether two sets of points have one distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PERMUTATIONS = 10_000
"""The most permutations of a test, whose smallest p-value is therefore 1e-4."""
MOST_POINTS = 1_000
_AT_ONCE = 100


@dataclass(frozen=True)
class Apart:
    """The coordinate in which two sets differ most: the Kolmogorov-Smirnov distance there and its p-value.

    The p-value is corrected for the number of coordinates (Bonferroni). Coordinates from `columns` on are principal
    components.
    """

    p: float
    distance: float
    index: int
    columns: int

    @property
    def where(self) -> str:
        """The coordinate in words."""
        if self.index < self.columns:
            return f"coordinate {self.index}"
        return f"principal component {self.index - self.columns}"


def apart(x: Tensor, y: Tensor, components: int = 5) -> Apart:
    """How different two sets of points are, in each coordinate and in the first principal components of `y`."""
    from scipy import stats

    a, b = (points.flatten(1).double() for points in (x, y))
    columns = a.shape[1]
    center, scale = b.mean(0), b.std(0).clamp_min(1e-12)
    a, b = (a - center) / scale, (b - center) / scale
    if columns > 1:
        basis = torch.linalg.eigh(b.T @ b / len(b)).eigenvectors[:, -components:].flip(1)
        a, b = (torch.cat([points, points @ basis], 1) for points in (a, b))
    found = [stats.ks_2samp(one, two, method="asymp") for one, two in zip(a.T.numpy(), b.T.numpy(), strict=True)]
    worst = int(np.argmin([result.pvalue for result in found]))
    p = min(1.0, len(found) * float(found[worst].pvalue))
    return Apart(p, float(found[worst].statistic), worst, columns)


def mixed_up(x: Tensor, y: Tensor, most: int = MOST_POINTS) -> float:
    """The p-value of the energy distance of two sets of points, `(n, d)` and `(m, d)`, under permutations.

    All coordinates count together, in units of the standard deviation of `y`, so that a difference of their joint
    distribution is found too (Szekely & Rizzo 2004). At most `most` points of each set are used. Permutations are drawn
    until one has as large a distance, and at most `PERMUTATIONS` of them, so sets of one distribution take few. The
    p-value is (1 + those with as large a distance) / (1 + permutations), which is exact for exchangeable points
    (Besag & Clifford 1991).
    """
    a, b = (thinned(points.flatten(1), most).double() for points in (x, y))
    scale = b.std(0)
    keep = scale > 0
    z = torch.cat([a, b])[:, keep] / scale[keep]
    # With weights 1/n and -1/m, the distance is minus the quadratic form of the weights in the matrix of distances.
    distances = torch.cdist(z, z).float()
    weights = torch.cat([torch.full((len(a),), 1 / len(a)), torch.full((len(b),), -1 / len(b))])
    generator = torch.Generator().manual_seed(0)
    found, done = float(-(weights @ distances @ weights)), 0
    while done < PERMUTATIONS:
        orders = torch.stack([torch.randperm(len(z), generator=generator) for _ in range(_AT_ONCE)])
        drawn = weights[orders]
        as_large = int((-(drawn @ distances * drawn).sum(1) >= found * (1 - 1e-6)).sum())
        done += _AT_ONCE
        if as_large:
            return (1 + as_large) / (1 + done)
    return 1 / (1 + done)


def thinned(points: Tensor, most: int) -> Tensor:
    """At most `most` rows, at equal distances."""
    return points[:: -(-len(points) // most)]
