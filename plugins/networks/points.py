"""Functions on batches of points `(n, *shape)`: values for each point, noise, stratified draws."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 2_000
"""Number of points that a network evaluates at once in sampling. It bounds memory, and larger batches are slower."""


def per_point(values: Tensor, x: Tensor) -> Tensor:
    """Values of shape `()` or `(n,)`, reshaped to broadcast against `x` of shape `(n, *shape)`."""
    return values.reshape(-1, *[1] * (x.ndim - 1)).to(x)


def standard_normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of `x`."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def rademacher(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    """Independent random signs, -1 or 1, of the given shape, with the type and device of `x`."""
    return 2 * torch.randint(0, 2, shape, generator=generator, device=x.device).to(x) - 1


def stratified(n: int, generator: torch.Generator) -> Tensor:
    """`n` numbers in [0, 1) in rising order, one drawn uniformly from each of n equal parts."""
    device = generator.device
    drawn = (torch.arange(n, device=device) + torch.rand(n, generator=generator, device=device)) / n
    return drawn.clamp(max=1 - 2**-24)  # the sum may be rounded up to n
