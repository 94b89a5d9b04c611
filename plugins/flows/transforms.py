"""Invertible maps of single coordinates, as pure functions of their parameters.

A pair of functions `(params, x) -> (y, log|dy/dx| summed over coordinates)` and its inverse `(params, y) -> (x, ...)`.
`params` has shape `(n, width, d)`: `width` numbers for each coordinate of each point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Elementwise(NamedTuple):
    """An invertible map of single coordinates: its two directions and how many parameters a coordinate has."""

    forward: Pure
    inverse: Pure
    width: int


def soft_clip(x: Tensor, bound: float) -> Tensor:
    """A smooth clip to (-bound, bound) with slope 1 at 0."""
    return bound * torch.tanh(x / bound)


def affine(bound: float) -> Elementwise:
    """y = x exp(s) + t with s = soft_clip(params[:, 0]) and t = params[:, 1] (Dinh et al. 2017, eq. 4).

    The clip keeps the scale in (exp(-bound), exp(bound)), so that densities stay finite far from the data.
    """

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = soft_clip(raw, bound)
        return x * log_scale.exp() + shift, log_scale.sum(1)

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = params.unbind(1)
        log_scale = soft_clip(raw, bound)
        return (y - shift) * (-log_scale).exp(), -log_scale.sum(1)

    return Elementwise(forward, inverse, 2)
