"""The divergence of a vector field, exact or estimated with random probes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EXACT_UP_TO = 16
"""Largest dimension in which `auto` computes the exact divergence. Its cost grows with the dimension."""

VectorField = Callable[[Tensor], Tensor]


def divergence(field: VectorField, x: Tensor, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """`probe_divergence` with these `probes`, or `exact_divergence` if they are None."""
    return exact_divergence(field, x) if probes is None else probe_divergence(field, x, probes)


def exact_divergence(field: VectorField, x: Tensor, *, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """`field(x)` and its divergence at each point, shape `(n,)`, by one backward pass per coordinate.

    The value of the field at a point must not depend on the other points. `differentiable` keeps the autograd graph,
    for losses that contain a divergence.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = field(x)
        flat = value.flatten(1)
        diagonal = [
            torch.autograd.grad(
                flat[:, i].sum(), x, retain_graph=differentiable or i + 1 < flat.shape[1], create_graph=differentiable
            )[0].flatten(1)[:, i]
            for i in range(flat.shape[1])
        ]
    return (value if differentiable else value.detach()), torch.stack(diagonal).sum(0)


def probe_divergence(
    field: VectorField, x: Tensor, probes: Tensor, *, differentiable: bool = False
) -> tuple[Tensor, Tensor]:
    """`field(x)` and Hutchinson's estimates v' J v of its divergence, one row for each probe, shape `(probes, n)`.

    `probes` has shape `(probes, *x.shape)`. Its entries are independent, with mean 0 and variance 1 (Hutchinson 1990).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = field(x)
        estimates = [
            (
                torch.autograd.grad(
                    (value * v).sum(),
                    x,
                    retain_graph=differentiable or k + 1 < len(probes),
                    create_graph=differentiable,
                )[0]
                * v
            )
            .flatten(1)
            .sum(1)
            for k, v in enumerate(probes)
        ]
    return (value if differentiable else value.detach()), torch.stack(estimates)
