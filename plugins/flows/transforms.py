"""Invertible maps of single coordinates, as pure functions of their parameters.

A map is a function `(params, x) -> (y, log|dy/dx|)` with its inverse `(params, y) -> (x, log|dx/dy|)`. `x` has any
shape, and so has the log-derivative, which is given for each coordinate. `params` has shape `(width, *x.shape)`, which
is `width` numbers for each coordinate. The dimension of the parameters comes first, so that operations on it (softmax,
sums) are vectorized over the other dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Pure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Elementwise:
    """An invertible map of single coordinates: its two directions and its number of parameters per coordinate."""

    forward: Pure
    inverse: Pure
    width: int


def soft_clip(x: Tensor, bound: float) -> Tensor:
    """A smooth clip to (-bound, bound) with slope 1 at 0: x / (1 + |x| / bound)."""
    return x * shrinkage(x, bound)


def shrinkage(x: Tensor, bound: float) -> Tensor:
    """The factor by which the soft clip multiplies `x`. Its square is the slope of the soft clip."""
    return torch.rsub(x.abs(), 1, alpha=-1 / bound).reciprocal()


def affine(bound: float) -> Elementwise:
    """y = x exp(s) + t with t = params[0] and s = soft_clip(params[1]) (Dinh et al. 2017, eq. 4).

    The clip keeps the scale in (exp(-bound), exp(bound)), so that densities stay finite far from the data.
    """

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(0)
        log_scale = soft_clip(raw, bound)
        return x * log_scale.exp() + shift, log_scale

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(0)
        log_scale = -soft_clip(raw, bound)
        return (y - shift) * log_scale.exp(), log_scale

    return Elementwise(forward, inverse, 2)


def additive() -> Elementwise:
    """y = x + t with t = params[0], which preserves volume (Dinh et al. 2015, eq. 5)."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + params[0], torch.zeros_like(x)

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return y - params[0], torch.zeros_like(y)

    return Elementwise(forward, inverse, 1)
