"""The objectives of score matching, as functions of a score: each is E|s - grad log p|^2 / 2 up to a constant.

The score maps points `(n, d)` to `(n, d)`, each by itself; objectives are means over points, and differentiable.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trilemma.plugins.denoiser import standard_normal
from trilemma.plugins.ode_likelihood import exact_divergence, probe_divergence, rademacher

Score = Callable[[Tensor], Tensor]


def implicit_objective(score: Score, x: Tensor) -> Tensor:
    """E[|s|^2 / 2 + tr grad s] (Hyvarinen 2005, theorem 1), the trace by one backward pass per coordinate."""
    value, divergence = exact_divergence(score, x, differentiable=True)
    return (0.5 * value.square().sum(1) + divergence).mean()


def sliced_objective(score: Score, x: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    """E[|s|^2 / 2 + v' (grad s) v] with random signs v: sliced score matching with variance reduction.

    (Song et al. 2019, eq. 8.) `probes` directions for each point.
    """
    signs = rademacher((probes, *x.shape), x, generator)
    value, estimates = probe_divergence(score, x, signs, differentiable=True)
    return (0.5 * value.square().sum(1) + estimates.mean(0)).mean()


def denoising_objective(score: Score, x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """E|s(x + sigma z) + z / sigma|^2 / 2, for the score of the law smoothed by the noise (Vincent 2011, eq. 11)."""
    noise = standard_normal(x, generator)
    return 0.5 * (score(x + sigma * noise) + noise / sigma).square().sum(1).mean()
