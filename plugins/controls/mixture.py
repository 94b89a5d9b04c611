"""Mixtures of full-covariance Gaussians, in double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mixture_log_prob(
    x: Tensor,
    weights: Tensor,
    means: Tensor,
    factors: Tensor,
) -> Tensor:
    """Log-density in nats of sum_j w_j N(m_j, L_j L_j') at each row of `x`, shape `(n,)`, float64.

    `weights` (k,) are the w_j, `means` (k, d) the m_j, and `factors` (k, d, d) the lower triangular L_j.
    """
    x = x.double()
    weights, means, factors = (tensor.to(x) for tensor in (weights, means, factors))
    constant = x.shape[1] / 2 * math.log(2 * math.pi)
    terms = []
    for weight, mean, factor in zip(weights, means, factors, strict=True):
        white = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
        terms.append(weight.log() - factor.diagonal().log().sum() - constant - 0.5 * white.square().sum(0))
    return torch.stack(terms).logsumexp(0)


def sample_mixture(
    n: int,
    weights: Tensor,
    means: Tensor,
    factors: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw `n` points from sum_j w_j N(m_j, L_j L_j'), shape `(n, d)`, float32."""
    device = generator.device
    weights, means, factors = weights.to(device), means.to(device), factors.to(device)
    chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
    noise = torch.randn((n, means.shape[1]), generator=generator, device=device, dtype=means.dtype)
    x = torch.empty_like(noise)
    for j, (mean, factor) in enumerate(zip(means, factors, strict=True)):
        rows = chosen == j
        x[rows] = mean + noise[rows] @ factor.T
    return x.float()
