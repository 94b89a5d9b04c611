"""Adaptive solvers, which choose the step size for each sample separately.

A sample that has reached the end is not evaluated again. Each solver returns the end points and the number of
evaluations of each sample, shape `(n,)`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import trilemma

from ..networks.points import per_point, standard_normal
from .denoiser import Denoiser
from .schedules import Diffusion
from .sde import reverse_drift

MAX_ROUNDS = 20_000

# Dormand & Prince 1980: nodes, stages (the last row is the fifth-order solution), and fifth minus fourth order weights.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def rms(x: Tensor) -> Tensor:
    """The root mean square over the coordinates of each sample, shape `(n,)`."""
    return x.square().flatten(1).mean(1).sqrt()


def dormand_prince(
    field: Callable[[Tensor, Tensor], Tensor], y: Tensor, start: float, end: float, *, rtol: float, atol: float
) -> tuple[Tensor, Tensor]:
    """The Dormand-Prince method of order 5(4) for dy/dt = field(y, t), `t` of shape `(n,)`, from `start` to `end`.

    The error of a step is the rms of its error estimate divided by atol + rtol max(|y|, |y_next|). A step with an error
    of at most 1 is accepted. The step size is multiplied by .9 error^(-1/5), clipped to [.1, 10] (Hairer, Norsett &
    Wanner 1993, section II.4). Takes one evaluation at the start and six per step. Raises DivergedError if a sample has
    not reached the end after `MAX_ROUNDS` steps, or if values are not finite.
    """
    result, evaluations = y.clone(), torch.ones(len(y), dtype=torch.long, device=y.device)
    rows = torch.arange(len(y), device=y.device)
    t = torch.full((len(y),), start, dtype=torch.float64, device=y.device)
    h = torch.full_like(t, (end - start) / 20)
    first = field(y, t)
    for _ in range(MAX_ROUNDS):
        step = per_point(h, y)
        slopes = [first]
        for node, weights in zip(_NODES[1:], _STAGES, strict=True):
            increment = sum((w * k for w, k in zip(weights, slopes, strict=True) if w), torch.zeros_like(y))
            stage = y + step * increment
            slopes.append(field(stage, t + node * h))
        evaluations[rows] += len(_STAGES)
        estimate = step * sum((w * k for w, k in zip(_ERROR, slopes, strict=True) if w), torch.zeros_like(y))
        error = rms(estimate / (atol + rtol * torch.maximum(y.abs(), stage.abs()))).double()
        _check(error, "the Dormand-Prince method")
        accepted = error <= 1
        t = torch.where(accepted, t + h, t)
        y = torch.where(per_point(accepted, y).bool(), stage, y)
        first = torch.where(per_point(accepted, y).bool(), slopes[-1], first)
        h = h * (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.1, 10)
        h = torch.where((end - t).abs() < h.abs(), end - t, h)
        active = (end - t).abs() > 1e-12
        result[rows] = y
        if not bool(active.any()):
            return result, evaluations
        rows, t, h, y, first = rows[active], t[active], h[active], y[active], first[active]
    raise trilemma.DivergedError(
        f"the Dormand-Prince method did not reach the end in {MAX_ROUNDS} steps: try larger tolerances rtol and atol"
    )


def _check(error: Tensor, solver: str) -> None:
    """Raise DivergedError if an error is not finite: no smaller step repairs values that are not finite."""
    if not bool(error.isfinite().all()):
        raise trilemma.DivergedError(f"{solver} met values that are not finite: the network or the samples diverged")


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
        _check(error, "the adaptive SDE solver")
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


def record_evaluations(ctx: trilemma.Context, evaluations: Tensor) -> None:
    """Write into the details the mean and the largest number of evaluations over all samples drawn in this context."""
    drawn = ctx.details.get("drawn", 0)
    total = drawn + len(evaluations)
    mean = ctx.details.get("nfe_mean", 0.0) * drawn / total + float(evaluations.double().sum()) / total
    largest = max(ctx.details.get("nfe_max", 0), int(evaluations.max()))
    ctx.details.update(drawn=total, nfe_mean=mean, nfe_max=largest)
