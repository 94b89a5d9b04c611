"""Variational bounds on the log-density of denoising models, and the terms of the bounds.

The latent variables are x_0 + sigma z at falling noise levels. At the largest noise level the model draws from
N(0, (1 + sigma_max^2) I). In the limit of infinitely many steps the last draw is from N(D, sigma_min^2 I); the steps of
a finite chain are those of `reverse_chain`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks.points import per_point, shuffled, standard_normal
from .denoiser import Denoiser, noise_residual
from .reverse_chain import Prediction, ReverseChain, Variance, prediction


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


def prior_term(x: Tensor, sigma_max: Tensor) -> Tensor:
    """KL(N(x, sigma_max^2 I) | N(0, (1 + sigma_max^2) I)), shape `(n,)`. `sigma_max` has shape `()`."""
    total, d = 1 + sigma_max**2, x[0].numel()
    excess = (sigma_max**-2).log1p() - 1 / total
    return 0.5 * (d * excess.to(x) + x.square().flatten(1).sum(1) / total.to(x))


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


def step_term(
    predict: Prediction, chain: ReverseChain, x: Tensor, step: Tensor | int, generator: torch.Generator
) -> Tensor:
    """The term of a step of the chain in the bound of DDPM, in nats, at one draw of the noise, shape `(n,)`.

    `step` is one step, or has shape `(n,)`. As in `expected_residual`, there is a control variate of mean 0.
    """
    sigma, noise = chain.sigmas[step].to(x), standard_normal(x, generator)
    s = per_point(sigma, x)
    at = step.reshape(s.shape) if isinstance(step, Tensor) else step
    clean, exponent = predict(x + s * noise, sigma)
    terms = chain.terms(((clean - x) / s).square(), at, exponent)
    # A learned exponent depends on the noise, and the factor of the control variate must not.
    factor = chain.weight(at, torch.ones_like(exponent) if exponent.ndim else exponent)
    return (terms - factor * (noise.square() - 1) / (1 + s**2)).flatten(1).sum(1)


@torch.no_grad()
def discrete_bound(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator,
    variance: Variance,
    sampled_steps: int | None = None,
) -> Bound:
    """The bound of DDPM over falling noise levels, with one draw of the noise for each term.

    Source: Ho et al. 2020, eq. 5, with the steps of `ReverseChain`. The posterior's variance (`small`) is the best one
    for data that is a single point, and that of the forward step (`large`) for standard normal data (section 3.2). The
    diffusion term is the sum over all steps before the last. With `sampled_steps` it is estimated without bias from so
    many steps for each point, which are stratified and drawn with the probabilities of `step_shares`.
    """
    predict, chain, n = prediction(denoise, variance), ReverseChain(sigmas.to(x.device)), len(x)
    last = len(sigmas) - 1
    diffusion = x.new_zeros(n)
    if sampled_steps is None or sampled_steps >= last:
        for step in range(last):
            diffusion = diffusion + step_term(predict, chain, x, step, generator)
    else:
        shares = step_shares(chain)
        ends = shares.cumsum(0)
        for part in range(sampled_steps):
            share = (part + shuffled(n, generator).double()) / sampled_steps
            steps = torch.searchsorted(ends, share.to(ends), right=True).clamp(max=last - 1)
            weight = (1 / (sampled_steps * shares[steps])).to(x)
            diffusion = diffusion + weight * step_term(predict, chain, x, steps, generator)
    return Bound(prior_term(x, sigmas[0]), diffusion, step_term(predict, chain, x, last, generator))


def step_shares(chain: ReverseChain) -> Tensor:
    """The probabilities with which the steps before the last are drawn, `(T - 1,)`, float64.

    For many steps and standard normal data, the term of a step is the fall of ln(1 + 1 / sigma^2) / 2, by which most
    steps are drawn. Other steps can matter for a model with errors: the first step of the schedule `cosine` has about
    no term for an exact model, but 500 times the squared error of the predicted noise. Some steps are therefore drawn
    by the factor of that error, and some uniformly.
    """
    exact = chain.sigmas.square().reciprocal().log1p().diff()
    factor = chain.weight(torch.arange(len(exact), device=exact.device), torch.zeros_like(exact))
    return 0.6 * exact / exact.sum() + 0.2 * factor / factor.sum() + 0.2 / len(exact)


@torch.no_grad()
def diffusion_term(
    denoise: Denoiser, x: Tensor, sigma_min: float, sigma_max: float, draws: int, generator: torch.Generator
) -> Tensor:
    """The integral over ln(sigma) of E|D(x + sigma z) - x|^2 / sigma^2, shape `(n,)`.

    It is estimated at `draws` noise levels for each point, which are stratified. It is the diffusion term of every
    linear diffusion between these noise levels (Kingma et al. 2021, eq. 18).
    """
    low, span = math.log(sigma_min), math.log(sigma_max / sigma_min)
    total = x.new_zeros(len(x))
    for draw in range(draws):
        share = (draw + shuffled(len(x), generator)) / draws
        sigma = (low + span * share).exp().to(x)
        total = total + span * expected_residual(denoise, x, sigma, generator) / draws
    return total


@torch.no_grad()
def continuous_bound(
    denoise: Denoiser, x: Tensor, sigma_min: float, sigma_max: float, draws: int, generator: torch.Generator
) -> Bound:
    """The bound in the limit of infinitely many steps, estimated at `draws` noise levels for each point.

    It is the bound of Song, Durkan, Murray & Ermon 2021 (theorem 3), which is the same for every linear diffusion.
    """
    diffusion = diffusion_term(denoise, x, sigma_min, sigma_max, draws, generator)
    prior = prior_term(x, torch.tensor(sigma_max, dtype=torch.float64))
    return Bound(prior, diffusion, reconstruction_term(denoise, x, sigma_min, generator))
