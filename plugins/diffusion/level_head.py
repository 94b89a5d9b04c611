"""A denoiser for images with discrete intensity levels: the exact posterior mean for values uniform within a level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..networks.points import per_point

REACH = 8.0
"""Points are clipped at this many sigma beyond the support. Noised data is never that far outside it."""


def log_boxes(z: Tensor) -> Tensor:
    """ln(Phi(z_k+1) - Phi(z_k)) for neighbors along the last dimension, accurate in both tails. `z` must increase."""
    tail = torch.special.log_ndtr(-z.abs())  # the logarithm of the smaller of the two tail masses
    low, high = tail[..., :-1], tail[..., 1:]
    nearer, farther = torch.maximum(low, high), torch.minimum(low, high)
    # Each branch gets a harmless argument where it is not selected, so that its gradient is finite there.
    astride = (z[..., :-1] <= 0) & (z[..., 1:] > 0)
    same_side = nearer + torch.log1p(-(farther - nearer).where(~astride, -torch.ones_like(low)).exp())
    between = torch.log1p(-(low.exp() + high.exp()).where(astride, torch.zeros_like(low)))
    value: Tensor = torch.where(astride, between, same_side)
    return value


def box_posterior_mean(x: Tensor, sigma: Tensor, logits: Tensor, edges: Tensor) -> Tensor:
    """E[y | y + sigma z = x] for y with density softmax(logits)_k / width on the box from edges_k to edges_k+1.

    `x` has any shape, and `sigma` broadcasts against it. `logits` has the shape of `x` with one more dimension for the
    levels. `edges` has one entry more than there are levels. Within a box the posterior is a truncated normal. Use
    float64, because the masses of boxes are small differences.
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

    The raw network gives logits for each pixel and level, `(n, channels levels, height, width)`. A bias is added to
    them, the logarithm of a histogram of the data. The logits describe what the rest of the image says about a pixel.
    The noisy value of the pixel itself enters exactly, through `box_posterior_mean`.

    Values somewhat outside the support are not clipped. Noise moves half of the values at an end of the support
    outside, and clipping them would worsen the likelihood. Values are clipped only at `REACH` sigma outside, where
    noised data never lies but a sampler with few large steps may arrive.
    """

    edges: Tensor

    def __init__(self, network: nn.Module, levels: int, support: tuple[float, float]) -> None:
        super().__init__()
        self.network = network
        self.bias = nn.Parameter(torch.zeros(levels))
        self.register_buffer("edges", torch.linspace(*support, levels + 1, dtype=torch.float64))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the bias to the log-histogram of the images `x`, with one count added to each level."""
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
