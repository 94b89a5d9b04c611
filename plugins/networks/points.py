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


def shuffled(n: int, generator: torch.Generator) -> Tensor:
    """`n` numbers in [0, 1) in random order, one drawn uniformly from each of n equal parts."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    return stratified(n, generator)[order]


def stable_target(x: Tensor, noised: Tensor, sigma: Tensor) -> Tensor:
    """E[x_0 | x_t] for each point x_t of `noised`, with x_0 uniform over the batch `x`, of the shape of `noised`.

    It replaces the x_0 that x_t was made from as the target in training. The variance of the target is much lower where
    the noise is larger than the distances in the batch, and its bias vanishes as the batch grows (Xu et al. 2023,
    eq. 6).
    """
    distances = torch.cdist(noised.flatten(1), x.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    weights = (-0.5 * (distances / sigma.unsqueeze(1)) ** 2).softmax(1)
    return (weights @ x.flatten(1)).reshape(noised.shape)
