"""The classical Runge-Kutta method of order 4, for points and an integral along their paths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import Tensor

State = tuple[Tensor, Tensor]


def runge_kutta(slope: Callable[[Tensor, Tensor], State], x: Tensor, times: Tensor) -> State:
    """Carry `x` through `times` by the classical Runge-Kutta method.

    `slope` gives the velocity and a second value. Returns the end points and the integral of the second value.
    """
    total = x.new_zeros(())
    for t, t_next in pairwise(times):
        h, middle = (t_next - t).to(x), (t + t_next) / 2
        v1, d1 = slope(x, t)
        v2, d2 = slope(x + h / 2 * v1, middle)
        v3, d3 = slope(x + h / 2 * v2, middle)
        v4, d4 = slope(x + h * v3, t_next)
        x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return x, total


def mean_over_probes(integrals: Tensor, details: dict[str, Any]) -> Tensor:
    """The mean `(n,)` of integrals of Hutchinson's estimates `(probes, n)`, whose error `details` gets."""
    details["probes"] = len(integrals)
    if len(integrals) > 1:
        # The standard error of the log-density of one point, as a root mean square over the points.
        details["probe_standard_error"] = float((integrals.var(0).mean() / len(integrals)).sqrt())
    return integrals.mean(0)
