"""The losses that train a flow map X_{s,t}(x) = x + (t - s) v(x, s, t) (Boffi, Albergo & Vanden-Eijnden 2025).

Each is a squared error for each point, `(n,)`, summed over coordinates. All are zero at the flow map of the velocity
v(x, t, t). Targets carry no gradients, and are those of the networks without dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.divergence import exact_divergence, probe_divergence
from ..networks.points import per_point, rademacher
from .networks import MapNetwork, as_evaluated

EXACT_IN_TRAINING = 3
"""Largest dimension in which the target of a divergence head is the exact divergence."""

SHORTEST = 1e-3
"""Shortest distance of times by which an error of an end point is divided."""


def jump(v: MapNetwork, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """X_{s,t}(x) = x + (t - s) v(x, s, t) for points `(n, *shape)` and times `(n,)`."""
    end: Tensor = x + per_point(t - s, x) * v(x, s, t)
    return end


def squares(error: Tensor) -> Tensor:
    """The sum of squares of each row, `(n,)`."""
    return error.square().flatten(1).sum(1)


def velocity_error(v: MapNetwork, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
    """|v(x_t, t, t) - dx_t/dt|^2, which is least at the velocity of the flow (flow matching)."""
    return squares(v.instant(x, t) - velocity)


def lagrangian_error(v: MapNetwork, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """|d/dt X_{s,t}(x) - v(X_{s,t}(x), t, t)|^2: the map follows the velocity at its end (LSD)."""
    value, rate = v.along(x, s, t, (None, None, torch.ones_like(t)))
    step = per_point(t - s, x)
    with torch.no_grad(), as_evaluated(v):
        target = v.instant(x + step * value, t)
    return squares(value + step * rate - target)


def eulerian_error(
    v: MapNetwork, x: Tensor, s: Tensor, t: Tensor, velocity: Tensor, *, normalization: float = 0.0
) -> Tensor:
    """|v(x, s, t) - sg(v + g)|^2 with the tangent g = dX_{s,t}(x_s)/ds = velocity - v + (t - s) dv/ds (ESD).

    dv/ds is taken along the velocity at `x`: the map gives the same end for all points of one trajectory. `velocity` is
    v(x, s, s), or as in MeanFlow that of the path that goes through x (Geng et al. 2025). With a `normalization` c > 0
    the tangent is g / (|g| + c) (Lu & Song 2025, section 4.1).
    """
    with torch.no_grad(), as_evaluated(v):
        value, rate = v.along(x, s, t, (velocity, torch.ones_like(s), None))
        tangent = velocity - value + per_point(t - s, x) * rate
        if normalization > 0:
            tangent = tangent / per_point(squares(tangent).sqrt() + normalization, x)
        target = value + tangent
    return squares(v(x, s, t) - target)


def progressive_error(v: MapNetwork, x: Tensor, s: Tensor, u: Tensor, t: Tensor) -> Tensor:
    """|X_{s,t}(x) - X_{u,t}(X_{s,u}(x))|^2 / (t - s)^2: one step is as good as two (PSD)."""
    with torch.no_grad(), as_evaluated(v):
        target = jump(v, jump(v, x, s, u), u, t)
    return squares((jump(v, x, s, t) - target) / per_point((t - s).abs().clamp_min(SHORTEST), x))


def trajectory_error(average: Tensor, x: Tensor, end: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """|t - s| |v - (end - x) / (t - s)|^2: the map goes from a point of a trajectory to a later one, its `end`.

    `average` is v(x, s, t). By the weight, short steps, of which many are taken for one sample, count less than long
    ones, but more than in an error of the end alone.
    """
    step = per_point(t - s, x)
    return squares((x + step * average - end) / step.abs().sqrt())


def divergence_error(
    head: MapNetwork, v: MapNetwork, x: Tensor, s: Tensor, t: Tensor, generator: torch.Generator
) -> Tensor:
    """|D + (t - s) dD/dt - div v(X_{s,t}(x), t, t)|^2 for the divergence head D(x, s, t) (F2D2, Ai et al. 2026).

    At the least error, (t - s) D is the integral of the divergence from s to t. Above `EXACT_IN_TRAINING` dimensions
    the divergence is estimated by one random probe, which adds a constant to the expected error.
    """
    d = x[0].numel()
    with as_evaluated(v, head):
        with torch.no_grad():
            _, rate = head.along(x, s, t, (None, None, torch.ones_like(t)))
            end = jump(v, x, s, t)
        if d <= EXACT_IN_TRAINING:
            _, divergence = exact_divergence(lambda y: v.instant(y, t), end)
        else:
            _, estimates = probe_divergence(lambda y: v.instant(y, t), end, rademacher((1, *x.shape), x, generator))
            divergence = estimates[0]
    target = divergence - (t - s) * rate.flatten()
    error: Tensor = head(x, s, t).flatten() - target.detach()
    return error.square()


def return_error(v: MapNetwork, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """|X_{t,s}(X_{s,t}(x)) - x|^2, the penalty of maps that cannot be inverted (FALCON, Rehman et al. 2026)."""
    return squares(jump(v, jump(v, x, s, t), t, s) - x)
