"""Variational bounds on the log-density of denoising models, and the terms of the bounds.

The latent variables are x_0 + sigma z at falling noise levels. At the largest noise level the model draws from
N(0, (1 + sigma_max^2) I), at each step from q(x_s | x_t, x_0 = D), and at the last step from N(D, sigma_min^2 I). The
term of a step is (1/sigma_s^2 - 1/sigma_t^2) |x_0 - D(x_t)|^2 / 2 (Kingma et al. 2021, eq. 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..networks.points import standard_normal, stratified
from .denoiser import Denoiser, noise_residual

Variance = Literal["small", "large"]
"""The variance of a step of the model: `small` is the variance of the posterior q(x_s | x_t, x_0), `large` the variance
of the forward step.
"""


@dataclass(frozen=True)
class Bound:
    """The terms of a variational bound on the negative log-density, in nats, each of shape `(n,)`."""

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor

    @property
    def total(self) -> Tensor:
        """The lower bound on the log-density of the model, in expectation over the noise, shape `(n,)`."""
        return -(self.prior + self.diffusion + self.reconstruction)

    def means(self) -> dict[str, float]:
        """The mean of each term over the points."""
        terms = {"prior": self.prior, "diffusion": self.diffusion, "reconstruction": self.reconstruction}
        return {name: float(term.mean()) for name, term in terms.items()}


def prior_term(x: Tensor, sigma_max: float) -> Tensor:
    """KL(N(x, sigma_max^2 I) | N(0, (1 + sigma_max^2) I)), shape `(n,)`."""
    total, d = 1 + sigma_max**2, x[0].numel()
    ratio = sigma_max**2 / total
    return 0.5 * (d * (ratio - 1 - math.log(ratio)) + x.square().flatten(1).sum(1) / total)


def expected_residual(denoise: Denoiser, x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """An unbiased estimate of E|D(x + sigma z) - x|^2 / sigma^2 from one draw of z, shape `(n,)`.

    The control variate (|z|^2 - d)/(1 + sigma^2), whose mean is 0, is subtracted, because it makes up most of the
    variance at low noise levels.
    """
    noise = standard_normal(x, generator)
    control = (noise.square().flatten(1).sum(1) - x[0].numel()) / (1 + sigma**2)
    return noise_residual(denoise, x, noise, sigma) - control


def reconstruction_term(denoise: Denoiser, x: Tensor, sigma_min: float, generator: torch.Generator) -> Tensor:
    """-log N(x; D(x + sigma_min z, sigma_min), sigma_min^2 I) at one draw of z, shape `(n,)`."""
    residual = expected_residual(denoise, x, torch.tensor(sigma_min).to(x), generator)
    return 0.5 * residual + x[0].numel() * math.log(sigma_min * math.sqrt(2 * math.pi))


@torch.no_grad()
def discrete_bound(
    denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: torch.Generator, variance: Variance = "small"
) -> Bound:
    """The bound over falling noise levels, with all terms, from one draw of the noise for each level.

    Let r = sigma_s^2 / sigma_t^2 and R = |x_0 - D|^2 / sigma_t^2. With the variance of the posterior,
    sigma_s^2 (1 - r) (`small`), the term of a step is (1/r - 1) R / 2. With the variance of the forward step,
    sigma_t^2 (1 - r) (`large`), it is [d (r - 1 - ln r) + (1 - r) R] / 2. These are the two choices of Ho et al. 2020,
    section 3.2. If the data has a density, steps with `large` lose nothing in the limit of low noise levels.
    """
    d = x[0].numel()
    total = x.new_zeros(len(x))
    for sigma, sigma_next in pairwise(sigmas):
        r = float((sigma_next / sigma) ** 2)
        weight, constant = (1 / r - 1, 0.0) if variance == "small" else (1 - r, d * (r - 1 - math.log(r)))
        total = total + 0.5 * (weight * expected_residual(denoise, x, sigma.to(x), generator) + constant)
    low, high = float(sigmas[-1]), float(sigmas[0])
    return Bound(prior_term(x, high), total, reconstruction_term(denoise, x, low, generator))


@torch.no_grad()
def continuous_bound(
    denoise: Denoiser, x: Tensor, sigma_min: float, sigma_max: float, draws: int, generator: torch.Generator
) -> Bound:
    """The bound in the limit of infinitely many steps, estimated at `draws` noise levels for each point.

    The diffusion term is the integral over ln(sigma) of E|D - x|^2 / sigma^2. It gives the bound of Song, Durkan,
    Murray & Ermon 2021 (theorem 3), which is the same for every linear diffusion (Kingma et al. 2021, eq. 17). Noise
    levels are stratified.
    """
    low, span = math.log(sigma_min), math.log(sigma_max / sigma_min)
    total = x.new_zeros(len(x))
    for draw in range(draws):
        order = torch.randperm(len(x), generator=generator, device=generator.device)
        share = (draw + stratified(len(x), generator)[order]) / draws
        sigma = (low + span * share).exp().to(x)
        total = total + span * expected_residual(denoise, x, sigma, generator) / draws
    return Bound(prior_term(x, sigma_max), total, reconstruction_term(denoise, x, sigma_min, generator))
