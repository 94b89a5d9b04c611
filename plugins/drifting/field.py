"""The drifting field (Deng et al. 2026): towards data and away from the model's own samples, by mean shifts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def distances(x: Tensor, data: Tensor, own: Tensor) -> Tensor:
    """Distances of points `x` `(n, d)` to those of `data` `(m, d)` and `own` `(k, d)`, `(n, m + k)`.

    If `own` is `x` itself, the distance of a point to itself is infinite, so that no point sees itself.
    """
    to_own = torch.cdist(x, own)
    return torch.cat([torch.cdist(x, data), to_own.fill_diagonal_(torch.inf) if own is x else to_own], dim=1)


def drift(
    x: Tensor, data: Tensor, own: Tensor, temperatures: Sequence[float | Tensor], *, balanced: bool = True
) -> Tensor:
    """The drifting field at points `x` `(n, d)`, a mean over temperatures (Deng et al. 2026).

    Without `balanced` it is V+ - V-, where V+ = E_p[k(x, y) (y - x)] / E_p[k(x, y)] is the mean shift of the kernel
    k(x, y) = exp(-|x - y| / temperature) towards the points of `data` `(m, d)`, and V- the same towards the model's
    `own` points `(k, d)`. Swapping the two distributions changes its sign, so that it vanishes when they agree.

    With `balanced`, the default of the paper (algorithm 2), the kernel is also normalized over the points `x`: a weight
    is the geometric mean of softmaxes over y and over x, where y are the points of both distributions. Data points that
    few samples are near to then pull more strongly. The sign changes in the same way.
    """
    apart, m = distances(x, data, own), len(data)
    total = torch.zeros_like(x)
    for temperature in temperatures:
        log_kernel = -apart / temperature
        if balanced:
            weights = (log_kernel.softmax(1) * log_kernel.softmax(0)).sqrt()
            attract, repel = weights[:, :m], weights[:, m:]
            # The sum of a_j r_k (y_j - y_k) over pairs of a data point and an own point.
            total += repel.sum(1, keepdim=True) * (attract @ data) - attract.sum(1, keepdim=True) * (repel @ own)
        else:
            total += log_kernel[:, :m].softmax(1) @ data - log_kernel[:, m:].softmax(1) @ own
    return total / len(temperatures)
