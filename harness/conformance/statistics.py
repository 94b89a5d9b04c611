"""Whether two sets of points have one distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
