"""The classical Runge-Kutta method of order 4, for points and an integral along their paths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .points import per_point

State = tuple[Tensor, Tensor]

Slope = Callable[[Tensor, Tensor, Tensor], State]
"""The velocity of points `(m, *shape)` at a time `()`, and the derivative of an integral, `(m,)` or `(k, m)`.

The third argument says which points of the solved ones they are, as indices `(m,)`.
"""

PARTS = 4
"""The number of parts into which a rough step is divided."""

MOVE, CHANGE = 0.1, 0.1
"""A step is too long if its two estimates from the middle differ by more.

`MOVE` is for points, as a part of 1 + rms(x), and `CHANGE` for the integral, per coordinate.
"""

REFINE = 2
"""How many times over a rough step is divided in the densities of models."""


def runge_kutta(slope: Slope, x: Tensor, times: Tensor, *, refine: int = 0) -> State:
    """Carry `x` through `times` by the classical Runge-Kutta method.

    Returns the end points and the integral, which is that of a divergence in log-densities. A step that is too long for
    a point, by its two estimates from the middle, is taken again in `PARTS` parts for that point, and a part likewise,
    up to `refine` times. So densities can be believed far from the data too, where a learned velocity may be rough.
    With `refine` there are no gradients.

    A path whose squared norm overflows ends at infinity, with an integral of 0: far from the data a learned velocity
    may grow without limit. A velocity of NaN stays NaN.
    """
    total = x.new_zeros(())
    rows = torch.arange(len(x), device=x.device)
    for t, t_next in pairwise(times):
        x, change = _step(slope, x, t, t_next, rows, refine, 1.0)
        total = total + change
    lost = _overflows(x)
    return torch.where(per_point(lost, x).bool(), torch.inf, x), torch.where(lost, 0, total)


def _step(slope: Slope, x: Tensor, t: Tensor, t_next: Tensor, rows: Tensor, refine: int, share: float) -> State:
    """The points `x` at `t_next`, and the change of their integrals, in a part `share` of a whole step."""
    lost = _overflows(x)
    x = torch.where(per_point(lost, x).bool(), 0, x)  # the velocity is evaluated where it is finite
    h, middle = (t_next - t).to(x), (t + t_next) / 2
    v1, d1 = slope(x, t, rows)
    v2, d2 = slope(x + h / 2 * v1, middle, rows)
    v3, d3 = slope(x + h / 2 * v2, middle, rows)
    v4, d4 = slope(x + h * v3, t_next, rows)
    end, change = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4), h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    if refine:
        rough = ~lost & (_overflows(end) | _is_rough(h * (v3 - v2) / share, h * (d3 - d2) / share, x))
        if bool(rough.any()):
            part, integral = x[rough], change[..., rough].zero_()
            for start, stop in pairwise(torch.lerp(t, t_next, torch.linspace(0, 1, PARTS + 1).to(t))):
                part, more = _step(slope, part, start, stop, rows[rough], refine - 1, share / PARTS)
                integral += more
            end[rough], change[..., rough] = part, integral
    return torch.where(per_point(lost, x).bool(), torch.inf, end), change


def _overflows(x: Tensor) -> Tensor:
    """Whether the squared norm of each point is infinite, `(n,)`."""
    return x.flatten(1).square().sum(1).isinf()


def _is_rough(move: Tensor, change: Tensor, x: Tensor) -> Tensor:
    """Whether a step is too long for each point, `(n,)`.

    `move` and `change` are the differences between the two estimates from its middle, scaled to a whole step.
    """
    far = move.flatten(1).square().mean(1).sqrt() > MOVE * (1 + x.flatten(1).square().mean(1).sqrt())
    return far | (change.reshape(-1, len(x)).mean(0).abs() > CHANGE * x[0].numel())


def mean_over_probes(integrals: Tensor, details: dict[str, Any]) -> Tensor:
    """The mean `(n,)` of integrals of Hutchinson's estimates `(probes, n)`, whose error `details` gets."""
    details["probes"] = len(integrals)
    if len(integrals) > 1:
        # The standard error of the log-density of one point, as a root mean square over the points.
        details["probe_standard_error"] = float((integrals.var(0).mean() / len(integrals)).sqrt())
    return integrals.mean(0)
