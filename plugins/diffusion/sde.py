"""Samplers that solve the reverse-time SDE with fixed steps, as plain functions of a denoiser and a linear diffusion.

`x` has shape `(n, *shape)`, in the coordinates of the diffusion. It is the state at `times[0]`; time runs down to
`times[-1]`, and the state there is returned. Vectors and images are treated in the same way. Samples do not depend on
each other, except through the step size of corrections by the rule `snr`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..networks.points import per_point, standard_normal
from .denoiser import Denoiser, Show, score, to_variance_preserving, unseen
from .schedules import Diffusion

StepRule = Literal["snr", "snr-per-sample", "ald"]
"""The rule for the step size of a correction, which `langevin_correction` describes."""

Update = Callable[[Denoiser, Tensor, Diffusion, Tensor, Tensor, torch.Generator], Tensor]
"""One step of a predictor from time `t` to `t_next`: (denoise, x, diffusion, t, t_next, generator) to the next x."""


def marginal_score(denoise: Denoiser, x: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
    """The score of the marginal at time `t`: the score of the denoiser at x / alpha, divided by alpha.

    `t` has shape `()` or `(n,)`.
    """
    alpha = per_point(diffusion.alpha(t), x)
    return score(denoise, x / alpha, diffusion.sigma(t).to(x)) / alpha


def reverse_drift(denoise: Denoiser, x: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
    """f x - g^2 score, the drift of the reverse-time SDE (Song et al. 2021, eq. 6)."""
    f, g2 = per_point(diffusion.drift(t), x), per_point(diffusion.squared_diffusion(t), x)
    return f * x - g2 * marginal_score(denoise, x, diffusion, t)


def euler_maruyama_step(
    denoise: Denoiser, x: Tensor, diffusion: Diffusion, t: Tensor, t_next: Tensor, generator: torch.Generator
) -> Tensor:
    """One Euler-Maruyama step of the reverse-time SDE."""
    dt = (t_next - t).to(x)
    noise = (-diffusion.squared_diffusion(t).to(x) * dt).sqrt() * standard_normal(x, generator)
    return x + reverse_drift(denoise, x, diffusion, t) * dt + noise


def interpolant_step(
    denoise: Denoiser,
    x: Tensor,
    diffusion: Diffusion,
    t: Tensor,
    t_next: Tensor,
    generator: torch.Generator,
    *,
    epsilon: float,
) -> Tensor:
    """One Euler-Maruyama step of the SDE dx = (b + eps score) ds + sqrt(2 eps) dw in the time s = 1 - t.

    b is the velocity of the probability flow and eps any coefficient: all have the marginals of the diffusion
    (Albergo, Boffi & Vanden-Eijnden 2023). Here eps is `epsilon` times the standard deviation of x_t given x_0.
    """
    f, g2 = per_point(diffusion.drift(t), x), per_point(diffusion.squared_diffusion(t), x)
    gradient, ds = marginal_score(denoise, x, diffusion, t), (t - t_next).to(x)
    eps = epsilon * (diffusion.alpha(t) * diffusion.sigma(t)).to(x)
    velocity = 0.5 * g2 * gradient - f * x
    return x + (velocity + eps * gradient) * ds + (2 * eps * ds).sqrt() * standard_normal(x, generator)


def reverse_diffusion_step(
    denoise: Denoiser, x: Tensor, diffusion: Diffusion, t: Tensor, t_next: Tensor, generator: torch.Generator
) -> Tensor:
    """One step of the reverse diffusion predictor (Song et al. 2021, appendix E).

    The forward step x_t = x_s + (r - 1) x_s + G z, exact with r = alpha_t / alpha_s and
    G^2 = alpha_t^2 (sigma_t^2 - sigma_s^2), is reversed as x_s = x_t - (r - 1) x_t + G^2 score + G z.
    """
    ratio = (diffusion.alpha(t) / diffusion.alpha(t_next)).to(x)
    variance = (diffusion.alpha(t) ** 2 * (diffusion.sigma(t) ** 2 - diffusion.sigma(t_next) ** 2)).to(x)
    gradient = marginal_score(denoise, x, diffusion, t)
    return (2 - ratio) * x + variance * gradient + variance.sqrt() * standard_normal(x, generator)


def langevin_correction(
    denoise: Denoiser,
    x: Tensor,
    diffusion: Diffusion,
    t: Tensor,
    *,
    snr: float,
    steps: int,
    generator: torch.Generator,
    rule: StepRule = "snr",
) -> Tensor:
    """Langevin steps x + eps score + sqrt(2 eps) z at time `t` (Song et al. 2021, algorithms 4 and 5).

    eps = 2 r (snr |z| / |score|)^2, where r is alpha(t)^2 / alpha(t - .001)^2, the alpha_i of the paper (1 for VE).
    The norms are means over the batch with the rule `snr`, as the paper says of large batches (appendix G), and those
    of each sample with `snr-per-sample`. With `ald`, as in the public code, the deviation alpha sigma of x_t given x_0
    replaces |z| / |score|, its value if the score is that of pure noise.
    """
    ratio = (diffusion.alpha(t) / diffusion.alpha((t - 1e-3).clamp_min(0))) ** 2
    for _ in range(steps):
        noise, gradient = standard_normal(x, generator), marginal_score(denoise, x, diffusion, t)
        if rule == "ald":
            scale = diffusion.alpha(t) * diffusion.sigma(t)
        else:
            norms = noise.flatten(1).norm(dim=1), gradient.flatten(1).norm(dim=1)
            over, under = norms if rule == "snr-per-sample" else (norm.mean() for norm in norms)
            scale = over / under
        eps = per_point(2 * ratio.to(x) * (snr * scale.to(x)) ** 2, x)
        x = x + eps * gradient + (2 * eps).sqrt() * noise
    return x


def predictor_corrector(
    denoise: Denoiser,
    x: Tensor,
    diffusion: Diffusion,
    times: Tensor,
    generator: torch.Generator,
    *,
    predictor: Update | None = reverse_diffusion_step,
    corrector_steps: int = 1,
    snr: float = 0.16,
    rule: StepRule = "snr",
    show: Show = unseen,
) -> Tensor:
    """At each time, one step of the predictor to the next time and then Langevin corrections.

    Without a predictor the corrector alone follows the times, which is annealed Langevin dynamics. Takes
    (len(times) - 1) (1 + corrector_steps) network evaluations, or (len(times) - 1) corrector_steps without a predictor.
    The state is shown in variance-preserving coordinates at the start and at each time. Source: Song et al. 2021,
    algorithm 1.
    """
    show(0, shown_state(x, diffusion, times[0]))
    for k, (t, t_next) in enumerate(pairwise(times), start=1):
        if predictor is not None:
            x = predictor(denoise, x, diffusion, t, t_next, generator)
        else:
            x = x * (diffusion.alpha(t_next) / diffusion.alpha(t)).to(x)
        if corrector_steps > 0:
            x = langevin_correction(
                denoise, x, diffusion, t_next, snr=snr, steps=corrector_steps, generator=generator, rule=rule
            )
        show(k, shown_state(x, diffusion, t_next))
    return x


def shown_state(x: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
    """The state at time `t` in variance-preserving coordinates."""
    return to_variance_preserving(x / diffusion.alpha(t).to(x), diffusion.sigma(t).to(x))
