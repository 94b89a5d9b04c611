"""The reverse chain of DDPM: its variances, the terms of its variational bound, and ancestral sampling.

Noise levels fall from `sigmas[0]` to `sigmas[-1]`, and the last step goes from `sigmas[-1]` to the data. States are in
the coordinates y_t = x_t / alpha_t with alpha_t^2 = 1 / (1 + sigma_t^2), which is the product of the alphas in Ho et
al. 2020. A step from sigma_t to sigma_s draws y_s from N(D + r (y_t - D), v) with r = sigma_s^2 / sigma_t^2. The mean
is that of the posterior q(y_s | y_t, x_0 = D) (eq. 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ..networks.points import standard_normal
from .denoiser import Denoiser, Parametrized, Show, to_variance_exploding, to_variance_preserving, unseen

Variance = Literal["model", "small", "large"]
"""The variance of a step: that of the `model`, or one of the two fixed variances of Ho et al. 2020."""

Prediction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(y, sigma) to D and the exponent of the variance, which is between 0 for the small and 1 for the large variance."""

EXPONENTS = {"small": 0.0, "large": 1.0}


class ReverseModel(nn.Module):
    """A denoiser and the variance of a reverse step.

    `variance` is `small` or `large` (Ho et al. 2020, section 3.2), or `learned`: the network then has a second output
    v - 1, and the variance of each coordinate is exp(v ln large + (1 - v) ln small) (Nichol & Dhariwal 2021, eq. 15).
    As in the paper v is not constrained. It starts at 1, the large variance, whose bound is better than that of the
    small one; the public code starts at 1/2.

    Where the data lies between known bounds, its `support`, D is clipped to them, as in the public code of DDPM.
    """

    def __init__(
        self,
        mean: Parametrized,
        variance: Literal["small", "large", "learned"],
        support: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.mean, self.variance, self.support = mean, variance, support

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.both(x, sigma)[0]

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """D, of the shape of `x`, and the exponent of the variance, of the shape of `x` or `()`."""
        clean, exponent = self.unclipped(x, sigma)
        return (clean if self.support is None else clean.clamp(*self.support)), exponent

    def unclipped(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What `both` gives, before D is clipped, for the loss in training."""
        if self.variance != "learned":
            clean: Tensor = self.mean(x, sigma)
            return clean, torch.tensor(EXPONENTS[self.variance]).to(x)
        sigma = sigma.to(x).expand(len(x))
        raw, change = self.mean.raw(x, sigma).chunk(2, dim=1)
        return self.mean.denoised(x, sigma, raw), 1 + change


def prediction(denoise: Denoiser, variance: Variance) -> Prediction:
    """The prediction of a denoiser with the variance of the model, or a fixed one. Of the model it needs `both`."""
    if variance == "model":
        both: Prediction = getattr(denoise, "both")  # noqa: B009  # of a `ReverseModel`, guided or not
        return both
    exponent = EXPONENTS[variance]
    return lambda y, sigma: (denoise(y, sigma), torch.tensor(exponent).to(y))


class ReverseChain:
    """The variances of the steps from each of the noise levels `sigmas`, `(T,)`, float64, and their bound.

    With beta = 1 - alpha_t^2 / alpha_s^2, the `large` variance is beta in the coordinates of x_s, which is the variance
    of the forward step. The `small` variance is beta (1 - alpha_s^2) / (1 - alpha_t^2), that of the posterior
    q(x_s | x_t, x_0) (Ho et al. 2020, section 3.2 and eq. 7). For the last step, where the posterior has no variance,
    `small` is that of the step before (Nichol & Dhariwal 2021, section 3.1: "clipped" in the public code).
    """

    def __init__(self, sigmas: Tensor) -> None:
        self.sigmas = sigmas
        t = sigmas.square()
        s = torch.cat([t[1:], t.new_zeros(1)])
        large, small = (t - s) * (1 + s) / (1 + t), s * (1 - s / t)
        small[-1] = small[-2] / (1 + s[-2]) if len(sigmas) > 1 else large[-1]
        self._log_small, self._log_ratio = small.log(), large.log() - small.log()
        self._log_shift = (t * (1 - s / t) ** 2).log()  # of |mean - posterior mean|^2 / |noise - predicted noise|^2

    def variance(self, step: int, exponent: Tensor) -> Tensor:
        """The variance of a step in the coordinates y_s, of the shape of `exponent`."""
        return (float(self._log_small[step]) + exponent * float(self._log_ratio[step])).exp()

    def weight(self, step: Tensor | int, exponent: Tensor) -> Tensor:
        """The factor of the squared error of the predicted noise in a term of the bound, of the shape of `exponent`.

        `step` is one step, or has a shape that broadcasts against `exponent`.
        """
        log_weight = (self._log_shift - self._log_small)[step].to(exponent)
        return 0.5 * (log_weight - exponent * self._log_ratio[step].to(exponent)).exp()

    def terms(self, squared_error: Tensor, step: Tensor | int, exponent: Tensor) -> Tensor:
        """The term of each coordinate in the bound, in nats, of the shape of `squared_error`.

        It is KL(q(x_s | x_t, x_0) | p(x_s | x_t)), and -log p(x_0 | x_1) for the last step (Ho et al. 2020, eq. 5).
        `squared_error` is ((D - x_0) / sigma_t)^2, the squared error of the predicted noise. `step` is one step, or has
        a shape that broadcasts against it.
        """
        excess = exponent * self._log_ratio[step].to(exponent)  # ln(variance / small)
        divergence = torch.expm1(-excess) + excess
        likelihood = math.log(2 * math.pi) + self._log_small[step].to(exponent) + excess
        last = torch.as_tensor(step == len(self.sigmas) - 1, device=squared_error.device)
        return self.weight(step, exponent) * squared_error + 0.5 * torch.where(last, likelihood, divergence)


def ancestral(
    predict: Prediction, u: Tensor, sigmas: Tensor, generator: torch.Generator, *, show: Show = unseen
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2), from `u` as in the solvers of `ode`, with T evaluations.

    The last step adds no noise.
    """
    show(0, u)
    chain, x = ReverseChain(sigmas), to_variance_exploding(u, sigmas[0])
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        clean, exponent = predict(x, sigma)
        mean = clean + float(sigma_next / sigma) ** 2 * (x - clean)
        x = mean + chain.variance(step, exponent).sqrt() * standard_normal(x, generator)
        show(step + 1, to_variance_preserving(x, sigma_next))
    end = predict(x, sigmas[-1])[0]
    show(len(sigmas), end)
    return end
