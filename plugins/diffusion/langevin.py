"""Langevin dynamics that follow a score, at one noise level or annealed, as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..networks.points import standard_normal
from .denoiser import Denoiser, Show, score, unseen


def langevin(
    score_of: Callable[[Tensor], Tensor],
    x: Tensor,
    step: Tensor | float,
    steps: int,
    generator: torch.Generator,
    *,
    show: Show = unseen,
) -> Tensor:
    """Unadjusted Langevin dynamics x <- x + step score(x) + sqrt(2 step) z, `steps` times (Roberts & Tweedie 1996).

    Song & Ermon 2019 (eq. 4) write eps / 2 for the step size. Takes one evaluation of the score per step. The points of
    each step are shown.
    """
    size = torch.as_tensor(step).to(x)
    for k in range(steps):
        x = x + size * score_of(x) + (2 * size).sqrt() * standard_normal(x, generator)
        show(k + 1, x)
    return x


def annealed_langevin(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    steps: int,
    ratio: float,
    denoise_last: bool,
    generator: torch.Generator,
    show: Show = unseen,
) -> Tensor:
    """Langevin dynamics at falling noise levels, `steps` at each (Song & Ermon 2019, algorithm 1).

    The step size at the noise level sigma_i is ratio sigma_i^2. In the notation of Song & Ermon 2020 (algorithm 1) it
    is alpha_i, and `ratio` is eps / sigma_L^2. Song & Ermon 2019 write alpha_i / 2 for the step size, so that `ratio`
    is eps / (2 sigma_L^2). `denoise_last` adds sigma_L^2 score at the end (Song & Ermon 2020, algorithm 1). Takes
    `steps` evaluations at each noise level, and one more to denoise.
    """
    done = 0
    for sigma in sigmas.to(x):
        shown = partial(_after, show, done)
        x = langevin(partial(score, denoise, sigma=sigma), x, ratio * sigma**2, steps, generator, show=shown)
        done += steps
    return denoise(x, sigmas[-1].to(x)) if denoise_last else x


def _after(show: Show, done: int, steps: int, x: Tensor) -> None:
    show(done + steps, x)
