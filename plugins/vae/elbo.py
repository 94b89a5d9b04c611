"""The variational bound of a latent-variable model with Gaussian encoder and decoder, and its importance-weighted form.

A diagonal Gaussian is a pair of tensors of shape `(n, d)`: the means and the logarithms of the standard deviations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Gaussian = tuple[Tensor, Tensor]


def log_normal(x: Tensor, gaussian: Gaussian) -> Tensor:
    """log N(x; mean, deviation^2), summed over coordinates: `(n,)`."""
    mean, log_deviation = gaussian
    terms = ((x - mean) * (-log_deviation).exp()).square() + 2 * log_deviation + math.log(2 * math.pi)
    return -0.5 * terms.sum(1)


def reparametrize(gaussian: Gaussian, noise: Tensor) -> Tensor:
    """mean + deviation * noise (Kingma & Welling 2014, section 2.4)."""
    mean, log_deviation = gaussian
    return mean + log_deviation.exp() * noise


def divergence_from_prior(gaussian: Gaussian) -> Tensor:
    """KL(N(mean, deviation^2) | N(0, I)), `(n,)` (Kingma & Welling 2014, appendix B)."""
    mean, log_deviation = gaussian
    return 0.5 * ((2 * log_deviation).exp() + mean.square() - 1 - 2 * log_deviation).sum(1)


def importance_bound(log_weights: Tensor) -> Tensor:
    """The importance-weighted bound log (1/K) sum_k w_k, from log-weights `(K, n)`: `(n,)` (Burda et al. 2016, eq. 8).

    A weight is p(x, z) / q(z | x) with z ~ q. K = 1 gives the ELBO. In expectation the bound is at most the
    log-density, and it becomes tighter as K grows.
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))
