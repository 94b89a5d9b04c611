"""Adaptive solvers, which choose the step size for each sample separately.

A sample that has reached the end is not evaluated again. Each solver returns the end points and the number of
evaluations of each sample, shape `(n,)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

import trilemma

from ..networks.dormand_prince import MAX_ROUNDS, check_finite, rms
from ..networks.points import per_point, standard_normal
from .denoiser import Denoiser
from .schedules import Diffusion
from .sde import reverse_drift


class BrownianPaths:
    """Increments of a Brownian path for each sample. A step that is tried again gets a part of the same path.

    For each sample, the known part of the path ahead is a stack of stretches (duration, increment), with the nearest on
    top. A shorter step takes its part of the top stretch by a Brownian bridge. This is rejection sampling with memory
    (Rackauckas & Nie 2017, RSwM1).
    """

    def __init__(self, x: Tensor, generator: torch.Generator) -> None:
        self._generator = generator
        self._durations = torch.zeros((len(x), 1), dtype=torch.float64, device=x.device)
        self._increments = torch.zeros_like(x).unsqueeze(1)
        self._depth = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def draw(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Durations `(n,)` of the next steps, and the increments over them, with the shape of `x`.

        A duration is at most `h`, and at most the duration of the stretch on top.
        """
        rows, top = torch.arange(len(x), device=x.device), (self._depth - 1).clamp_min(0)
        known = self._depth > 0
        stretch, whole = torch.where(known, self._durations[rows, top], h), self._increments[rows, top]
        h = torch.minimum(h, stretch)
        rest = stretch - h
        share = torch.where(known, h / stretch, 0.0)
        deviation = torch.where(known, h * rest / stretch, h).sqrt()
        increment = per_point(share, x) * whole + per_point(deviation, x) * standard_normal(x, self._generator)
        self._durations[rows, top], self._increments[rows, top] = rest, whole - increment
        self._depth = torch.where(known & (rest <= 0), self._depth - 1, self._depth)
        return h, increment

    def put_back(self, refused: Tensor, h: Tensor, increment: Tensor) -> None:
        """Put the increments of refused steps back on the stack. `refused` is a mask, `(n,)`."""
        if int(self._depth.max()) == self._durations.shape[1]:
            self._durations = torch.cat([self._durations, torch.zeros_like(self._durations)], dim=1)
            self._increments = torch.cat([self._increments, torch.zeros_like(self._increments)], dim=1)
        rows = refused.nonzero()[:, 0]
        self._durations[rows, self._depth[rows]], self._increments[rows, self._depth[rows]] = h[rows], increment[rows]
        self._depth[rows] += 1

    def keep(self, samples: Tensor) -> None:
        """Keep the paths of the samples in the mask `samples`, and drop all others."""
        self._durations, self._increments = self._durations[samples], self._increments[samples]
        self._depth = self._depth[samples]


def gotta_go_fast(
    denoise: Denoiser,
    x: Tensor,
    diffusion: Diffusion,
    generator: torch.Generator,
    *,
    eps: float,
    rtol: float,
    atol: float,
    first_step: float = 0.01,
    max_step: float = 1.0,
    memory: bool = True,
) -> tuple[Tensor, Tensor]:
    """The adaptive SDE solver of Jolicoeur-Martineau et al. 2021 (algorithm 1), from time 1 to `eps`.

    x' is the Euler-Maruyama step. x'' = (x' + x~)/2 is the stochastic improved Euler step, where x~ is the step with
    the coefficients at x' and the next time. The error is the rms of (x'' - x') divided by
    max(atol, rtol max(|x'|, |x'_prev|)). A step with an error of at most 1 is accepted, and x'' is the new point. The
    next step size is h <- min(t - eps, max_step, .9 h error^-.9). A step counts as two evaluations, also if it is
    refused.

    The paper tries a refused step again with new noise. Because the error depends on the noise, this selects noise with
    a small error. In few dimensions the samples are then far too wide, also at tight tolerances. With `memory`, a
    refused step is tried again on the same Brownian path (`BrownianPaths`), which does not select. Raises DivergedError
    if a sample has not reached `eps` after `MAX_ROUNDS` steps, or if values are not finite.
    """
    result, evaluations = x.clone(), torch.zeros(len(x), dtype=torch.long, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    t = torch.ones(len(x), dtype=torch.float64, device=x.device)
    h = torch.full_like(t, first_step)
    previous, paths = x, BrownianPaths(x, generator)
    for _ in range(MAX_ROUNDS):
        h, noise = paths.draw(h, x)
        step, earlier = per_point(h, x), t - h
        plain = x - step * reverse_drift(denoise, x, diffusion, t) + _coefficient(diffusion, t, x) * noise
        again = x - step * reverse_drift(denoise, plain, diffusion, earlier)
        improved = (plain + again + _coefficient(diffusion, earlier, x) * noise) / 2
        evaluations[rows] += 2
        size = torch.maximum(plain.abs(), previous.abs())
        error = rms((improved - plain) / (rtol * size).clamp_min(atol)).double()
        check_finite(error, "the adaptive SDE solver")
        if memory:
            paths.put_back(error > 1, h, noise)
        accepted = per_point(error <= 1, x).bool()
        t = torch.where(error <= 1, earlier, t)
        x, previous = torch.where(accepted, improved, x), torch.where(accepted, plain, previous)
        h = torch.minimum(t - eps, (0.9 * h * error.clamp_min(1e-10) ** -0.9).clamp_max(max_step))
        result[rows] = x
        active = t - eps > 1e-9
        if not bool(active.any()):
            return result, evaluations
        paths.keep(active)
        rows, t, h, x, previous = rows[active], t[active], h[active], x[active], previous[active]
    raise trilemma.DivergedError(
        f"the adaptive SDE solver did not reach the end in {MAX_ROUNDS} steps: try larger tolerances rtol and atol"
    )


def _coefficient(diffusion: Diffusion, t: Tensor, x: Tensor) -> Tensor:
    return per_point(diffusion.squared_diffusion(t).sqrt(), x)
