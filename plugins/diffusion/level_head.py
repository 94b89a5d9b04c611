"""A denoiser for images of discrete intensity levels: the exact posterior mean under box-shaped levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..networks.points import per_point

REACH = 8.0
"""Multiples of sigma beyond the support at which points are clipped: data with noise never lies there."""


def log_boxes(z: Tensor) -> Tensor:
    """ln(Phi(z_k+1) - Phi(z_k)) between neighbors along the last dimension, accurate in both tails. `z` rises."""
    tail = torch.special.log_ndtr(-z.abs())  # of whichever side is the smaller
    low, high = tail[..., :-1], tail[..., 1:]
    nearer, farther = torch.maximum(low, high), torch.minimum(low, high)
    same_side = nearer + torch.log1p(-(farther - nearer).exp())
    # Both differences are 0 where they are not selected, so that no gradient of the other branch is infinite.
    astride = (z[..., :-1] <= 0) & (z[..., 1:] > 0)
    between = torch.log1p(-(low.exp() + high.exp()).where(astride, torch.zeros_like(low)))
    value: Tensor = torch.where(astride, between, same_side)
    return value


def box_posterior_mean(x: Tensor, sigma: Tensor, logits: Tensor, edges: Tensor) -> Tensor:
    """E[y | y + sigma z = x] for y with density softmax(logits)_k / width on the box from edges_k to edges_k+1.

    `x` has any shape, `sigma` broadcasts against it, `logits` has the shape of `x` and one dimension more for the
    levels, `edges` has one entry more than there are levels. Within a box the posterior is a truncated normal. Best in
    float64.
    """
    s, point = sigma.unsqueeze(-1), x.unsqueeze(-1)
    z = (edges - point) / s
    log_mass = log_boxes(z)
    weights = (logits + log_mass).softmax(-1)
    log_density = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    slope = (log_density[..., :-1] - log_mass).exp() - (log_density[..., 1:] - log_mass).exp()
    means = torch.minimum(torch.maximum(point + s * slope, edges[:-1]), edges[1:])
    mean: Tensor = (weights * means).sum(-1)
    return mean


class LevelDenoiser(nn.Module):
    """D(x, sigma) for images whose values lie in `levels` equal boxes of the interval `support` (dequantized levels).

    The raw network gives logits for each pixel and level, `(n, channels levels, height, width)`; on top of a bias (the
    logarithm of a histogram of the data) they are what the rest of the image says of a pixel, and the pixel's own noisy
    value is accounted for exactly, outside the support too: that is where noise takes half of a pixel's values near its
    ends, and clipping them costs bits. Only what no noise explains, met in a few large sampling steps, is clipped.
    """

    edges: Tensor

    def __init__(self, network: nn.Module, levels: int, support: tuple[float, float]) -> None:
        super().__init__()
        self.network = network
        self.bias = nn.Parameter(torch.zeros(levels))
        self.register_buffer("edges", torch.linspace(*support, levels + 1, dtype=torch.float64))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the bias by points of the data, with one more in each level."""
        levels = len(self.bias)
        index = torch.bucketize(x.double(), self.edges[1:-1])
        counts = torch.bincount(index.flatten(), minlength=levels).double()
        self.bias.copy_(((counts + 1) / (counts.sum() + levels)).log())

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.to(x).expand(len(x))
        s = per_point(sigma, x)
        raw = self.network((1 + s**2).rsqrt() * x, sigma.log() / 4)
        logits = raw.unflatten(1, (x.shape[1], -1)).movedim(2, -1) + self.bias
        s, edges = s.double(), self.edges
        within = x.double().clamp(edges[0] - REACH * s, edges[-1] + REACH * s)
        return box_posterior_mean(within, s, logits.double(), edges).to(x)
