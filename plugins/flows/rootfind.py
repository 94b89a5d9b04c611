"""Inverses of increasing functions of one variable, for layers without a closed-form inverse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Monotone = Callable[[Tensor], tuple[Tensor, Tensor]]


def solve_increasing(function: Monotone, target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The s with `function(s)[0] == target`, elementwise. `function` gives values and derivatives, which are positive.

    Bisection between `low` and `high` to nearly full precision is followed by two steps of Newton's method. The last
    step carries the gradient, which is the gradient of the implicit function theorem.
    """
    with torch.no_grad():
        for _ in range(60 if target.dtype == torch.float64 else 34):
            middle = (low + high) / 2
            below = function(middle)[0] < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        s = (low + high) / 2
        value, slope = function(s)
        s = s - (value - target) / slope
    value, slope = function(s)
    return s - (value - target) / slope.detach()
