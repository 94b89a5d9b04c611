"""The classical Runge-Kutta method of order 4, for points and an integral along their paths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import trilemma

from .points import per_point

State = tuple[Tensor, Tensor]

Slope = Callable[[Tensor, Tensor, Tensor], State]
"""The velocity of points `(m, *shape)` at a time `()`, and the derivative of an integral, `(m,)` or `(k, m)`.

The third argument says which points of the solved ones they are, as indices `(m,)`.
"""

PARTS = 4
"""The number of parts into which a rough step is divided."""

MOVE, CHANGE = 0.1, 0.1
"""A step is rough if two estimates of it differ by more.

`MOVE` is for points, as a part of 1 + rms(x), and `CHANGE` for the integral, per coordinate.
"""

REFINE = 2
"""How many times over a rough step is divided in the densities of models."""

REFINED = "refined rk4"
"""The name of this solver in the details of a likelihood."""

DIVIDED = f"; a step that is rough for a point is divided for that point, into up to {PARTS**REFINE} parts"
"""The end of a description of its number of steps."""


def runge_kutta(slope: Slope, x: Tensor, times: Tensor, *, refine: int = 0) -> State:
    """Carry `x` through `times` by the classical Runge-Kutta method.

    Returns the end points and the integral, which is that of a divergence in log-densities. With `refine` a step that
    is rough for a point is taken again for that point in `PARTS` parts, and a part likewise, up to `refine` times,
    because a learned velocity may be rough far from the data. A path whose squared norm overflows then ends at
    infinity, with an integral of 0: either the velocity grows without limit, or the smallest parts are still too long
    for it. A velocity of NaN stays NaN. With `refine` gradients are not meant to be used.
    """
    total = x.new_zeros(())
    rows = torch.arange(len(x), device=x.device)
    for t, t_next in pairwise(times):
        x, change = _refined(slope, x, t, t_next, rows, refine) if refine else _step(slope, x, t, t_next, rows)[0]
        total = total + change
    if not refine:
        return x, total
    lost = _overflows(x)
    return torch.where(per_point(lost, x).bool(), torch.inf, x), torch.where(lost, 0, total)


def _step(slope: Slope, x: Tensor, t: Tensor, t_next: Tensor, rows: Tensor) -> tuple[State, list[State]]:
    """The points `x` at `t_next` and the change of their integrals, and what `slope` gave in the four stages."""
    h, middle = (t_next - t).to(x), (t + t_next) / 2
    v1, d1 = slope(x, t, rows)
    v2, d2 = slope(x + h / 2 * v1, middle, rows)
    v3, d3 = slope(x + h / 2 * v2, middle, rows)
    v4, d4 = slope(x + h * v3, t_next, rows)
    ended = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4), h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return ended, [(v1, d1), (v2, d2), (v3, d3), (v4, d4)]


def _refined(
    slope: Slope, x: Tensor, t: Tensor, t_next: Tensor, rows: Tensor, refine: int, share: float = 1.0
) -> State:
    """A step, with its rough parts divided. `share` is its length as a part of a whole step."""
    lost = _overflows(x)
    x = torch.where(per_point(lost, x).bool(), 0, x)  # the velocity is evaluated where it is finite
    (end, change), stages = _step(slope, x, t, t_next, rows)
    h = (t_next - t).to(x)
    if refine:
        rough = ~lost & _is_rough(stages, h / share, x)
        if bool(rough.any()):
            part, integral = x[rough], torch.zeros_like(change[..., rough])
            for start, stop in pairwise(torch.lerp(t, t_next, torch.linspace(0, 1, PARTS + 1).to(t))):
                part, more = _refined(slope, part, start, stop, rows[rough], refine - 1, share / PARTS)
                integral = integral + more
            end[rough], change[..., rough] = part, integral
    else:
        for (velocity, _), length in zip(stages, (h / 2, h / 2, h), strict=False):
            lost = lost | _overflows(x + length * velocity)  # there a velocity may be NaN
    return torch.where(per_point(lost, x).bool(), torch.inf, end), change


def _overflows(x: Tensor) -> Tensor:
    """Whether the squared norm of each point is infinite, `(n,)`."""
    return x.flatten(1).square().sum(1).isinf()


def _is_rough(stages: list[State], h: Tensor, x: Tensor) -> Tensor:
    """Whether two estimates of a whole step of length `h` differ too much for each point, `(n,)`.

    Compared are the two estimates from the middle, which differ if the velocity changes from place to place, and
    Simpson's rule with the average of both ends and the middle, which differ if it changes along the path.
    """
    v = [velocity.flatten(1) for velocity, _ in stages]
    d = [(rate.mean(0) if rate.ndim > 1 else rate).unsqueeze(1) for _, rate in stages]
    moves, changes = (
        [(h * (k3 - k2)).square().mean(1).sqrt(), (h / 6 * (k1 - k2 - k3 + k4)).square().mean(1).sqrt()]
        for k1, k2, k3, k4 in (v, d)
    )
    near = torch.maximum(*moves) <= MOVE * (1 + x.flatten(1).square().mean(1).sqrt())
    return ~(near & (torch.maximum(*changes) <= CHANGE * x.shape[1:].numel()))  # NaN is rough


def record_overflow(ctx: trilemma.Context, values: Tensor) -> None:
    """Add to the details the number of points whose path has overflowed, which have a log-density of -inf."""
    if lost := int(values.isneginf().sum()):
        ctx.details["overflowed"] = ctx.details.get("overflowed", 0) + lost


def mean_over_probes(integrals: Tensor, details: dict[str, Any]) -> Tensor:
    """The mean `(n,)` of integrals of Hutchinson's estimates `(probes, n)`, whose error `details` gets."""
    details["probes"] = len(integrals)
    if len(integrals) > 1:
        # The standard error of the log-density of one point, as a root mean square over the points.
        details["probe_standard_error"] = float((integrals.var(0).mean() / len(integrals)).sqrt())
    return integrals.mean(0)
