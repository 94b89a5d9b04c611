"""The log-densities of a flow map: by the ODE of its velocity, by a divergence head, and by the Jacobian of its steps.

All carry data points at time 1 back to noise at time 0 and add up how volumes change on the way.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..networks.divergence import EXACT_UP_TO, divergence
from ..networks.points import rademacher
from ..networks.runge_kutta import DIVIDED, REFINE, REFINED, Slope, State, mean_over_probes, runge_kutta
from .networks import MapNetwork
from .objectives import jump
from .times import solver_times

KINDS: dict[str, Literal["ode", "estimate", "map"]] = {"ode": "ode", "head": "estimate", "jacobian": "map"}
"""The kind of likelihood that each method gives."""

METHODS: dict[str, dict[str, str | None]] = {
    "head": {"method": "divergence head", "divergence": "learned"},
    "jacobian": {"method": "exact Jacobian", "divergence": None},
}
"""How each method that takes steps of the map computes the density, for the details of a result."""


class FlowMapLikelihood(trilemma.Model.Likelihood):
    """Options of the log-density of a flow map."""

    method: Literal["ode", "head", "jacobian"] = Field(
        "ode",
        description="ode, the density of the velocity of the map; head, the density by a few steps of the map with a "
        "learned divergence, an estimate; jacobian, the change of variables by a few steps of the map, a density only "
        "where these are invertible",
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="number of steps; by default 1 of the map, and for ode 40 of the Runge-Kutta method of order 4"
        f"{DIVIDED}",
    )
    divergence: Literal["auto", "exact", "hutchinson"] = Field(
        "auto",
        description=f"for ode: exact, Hutchinson's estimate, or auto, which is exact up to {EXACT_UP_TO} dimensions",
    )
    probes: int = Field(4, ge=1, description="for ode: number of Rademacher probes in Hutchinson's estimate")

    @property
    def count(self) -> int:
        """The number of steps."""
        return self.steps or (40 if self.method == "ode" else 1)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) of points `(n, *shape)`, `(n,)`."""
    return -0.5 * (z.square().flatten(1).sum(1) + z[0].numel() * math.log(2 * math.pi))


def times_of(steps: int, start: float, end: float, x: Tensor) -> Tensor:
    """`steps` + 1 even times from `start` to `end`, each for all points of `x`: `(steps + 1, n)`."""
    return torch.linspace(start, end, steps + 1, device=x.device, dtype=x.dtype).unsqueeze(1).expand(-1, len(x))


def jacobian_log_prob(v: MapNetwork, x: Tensor, steps: int) -> Tensor:
    """log N(z) + log|det dz/dx| of points at time 1, with z = X_{1,0}(x) in `steps` steps, `(n,)`.

    The determinant is exact, by one backward pass for each coordinate and step. Over all of space this integrates to
    the mean number of points that the steps carry to one z ~ N(0, I). It is 1 if the steps are invertible.
    """
    total = x.new_zeros(len(x))
    for s, t in pairwise(times_of(steps, 1.0, 0.0, x)):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            end = jump(v, x, s, t)
            flat = end.flatten(1)
            rows = [
                torch.autograd.grad(flat[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(flat.shape[1])
            ]
        total = total + torch.linalg.slogdet(torch.stack(rows, dim=1)).logabsdet
        x = end.detach()
    return standard_normal_log_prob(x) + total


@torch.no_grad()
def head_log_prob(v: MapNetwork, head: MapNetwork, x: Tensor, steps: int) -> Tensor:
    """log N(z) + sum (t - s) D(x_s, s, t) of points at time 1, over `steps` steps of the map to time 0 (F2D2)."""
    total = x.new_zeros(len(x))
    for s, t in pairwise(times_of(steps, 1.0, 0.0, x)):
        total = total + (t - s) * head(x, s, t).flatten()
        x = jump(v, x, s, t)
    return standard_normal_log_prob(x) + total


def ode_slope(v: MapNetwork, probes: Tensor | None) -> Slope:
    """The velocity v(x, t, t) and its divergence, exact or estimated with `probes`, of shape `(k, n, *shape)`."""

    def slope(y: Tensor, time: Tensor, rows: Tensor) -> State:
        t = time.to(y).expand(len(y))
        return divergence(lambda points: v.instant(points, t), y, None if probes is None else probes[:, rows])

    return slope


def ode_log_prob(
    v: MapNetwork, x: Tensor, options: FlowMapLikelihood, generator: torch.Generator
) -> tuple[Tensor, dict[str, Any]]:
    """log N(z) + the integral of div v(x_t, t, t) from time 1 to 0, and the details of how it was computed.

    The ODE dx/dt = v(x, t, t) is solved by the classical Runge-Kutta method, with rough steps divided (Chen et al.
    2018, eq. 8).
    """
    exact = options.divergence == "exact" or (options.divergence == "auto" and x[0].numel() <= EXACT_UP_TO)
    details: dict[str, Any] = {"solver": REFINED, "divergence": "exact" if exact else "hutchinson"}
    probes = None if exact else rademacher((options.probes, *x.shape), x, generator)
    end, total = runge_kutta(ode_slope(v, probes), x, solver_times(options.count), refine=REFINE)
    if probes is not None:
        total = mean_over_probes(total, details)
    return standard_normal_log_prob(end) + total, details
