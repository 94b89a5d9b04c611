"""The monotonic rational-quadratic spline of neural spline flows (Durkan et al. 2019, section 3.1 and appendix A)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .transforms import Elementwise, soft_clip

LOG_SLOPE = 6.907755278982137
"""ln 1000. Slopes at knots lie in (1/1000, 1000), and the sizes of bins of a spline differ by a factor below 1000."""

LOG_SIZE = LOG_SLOPE / 2
"""Bound of the soft clip on the logarithms of the sizes of bins."""


class Knots(NamedTuple):
    """The knots of the splines of points `(*shape)`."""

    sizes: Tensor
    """Widths and heights of the bins, `(2, bins, *shape)`."""
    ends: Tensor
    """Lower ends of the bins in x and in y, `(2, bins, *shape)`."""
    raw_slopes: Tensor
    """Slopes at all knots, before the soft clip and exp, `(bins + 1, *shape)`."""


class Bin(NamedTuple):
    """The bins in which points `(*shape)` lie."""

    number: Tensor
    """The numbers of the bins, `(*shape)`."""
    end: Tensor
    """The lower ends (x_k, y_k) of the bins, `(2, *shape)`."""
    size: Tensor
    """The widths and heights (w_k, h_k) of the bins, `(2, *shape)`."""
    raw_slope: Tensor
    """The slopes at the two ends of the bins, before the soft clip and exp, `(2, *shape)`."""


def split(params: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The raw sizes of the bins and the raw slopes at the inner knots, from raw parameters `(3 bins - 1, *shape)`.

    The sizes, widths and heights, have shape `(2, bins, *shape)`, the slopes `(bins - 1, *shape)`.
    """
    raw_sizes, raw_slopes = params.tensor_split([2 * bins])
    return raw_sizes.reshape(2, bins, *params.shape[1:]), raw_slopes


def place(log_sizes: Tensor, raw_slopes: Tensor, bound: float) -> Knots:
    """The knots on [-bound, bound]. The slope at the two outer knots is 1, as the spline is the identity outside."""
    sizes = torch.softmax(log_sizes, dim=1) * (2 * bound)
    bins = sizes.shape[1]
    earlier = sizes.new_ones((bins, bins)).tril(-1).expand(2, -1, -1)  # much faster than a cumulative sum
    ends = torch.baddbmm(sizes.new_full((), -bound), earlier, sizes.flatten(2)).view_as(sizes)
    zero = sizes.new_zeros((1, *sizes.shape[2:]))
    return Knots(sizes, ends, torch.cat([zero, raw_slopes, zero]))


def find(along: int, values: Tensor, knots: Knots) -> Bin:
    """The bins in which values of x (`along` 0) or y (`along` 1) lie. Knots and values are broadcast."""
    index = (values >= knots.ends[along, 1:]).sum(0)  # no value lies beyond the last bin
    at = index.unsqueeze(0)
    pair = at.expand(2, 1, *values.shape)
    end, size = (part.expand(2, -1, *values.shape).gather(1, pair).squeeze(1) for part in (knots.ends, knots.sizes))
    raw_slope = knots.raw_slopes.expand(-1, *values.shape).gather(0, torch.cat([at, at + 1]))
    return Bin(index, end, size, raw_slope)


def spline(params: Tensor, x: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """`(y, log dy/dx)` of the spline with raw parameters `params` (eqs. 4 and 5)."""
    inside, clamped = x.abs() < bound, x.clamp(-bound, bound)
    (left, bottom), (w, h), (d0, d1) = bins_of(0, clamped, params, bins, bound)
    share, slope = evaluate(h / w, d0, d1, theta=(clamped - left) / w)
    return torch.where(inside, bottom + h * share, x), torch.where(inside, slope.log(), 0.0)


def spline_inverse(params: Tensor, y: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """`(x, log dx/dy)` by the quadratic formula in its stable form (eqs. 6 to 8)."""
    inside, clamped = y.abs() < bound, y.clamp(-bound, bound)
    (left, bottom), (w, h), (d0, d1) = bins_of(1, clamped, params, bins, bound)
    s, rise = h / w, clamped - bottom
    bend = rise * (d1 + d0 - 2 * s)
    a = h * (s - d0) + bend
    b = h * d0 - bend
    c = -s * rise
    theta = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
    _, slope = evaluate(s, d0, d1, theta)
    return torch.where(inside, left + w * theta, y), torch.where(inside, -slope.log(), 0.0)


def bins_of(along: int, values: Tensor, params: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x_k, y_k), (w_k, h_k) and the two slopes of the bins of x (`along` 0) or y (`along` 1), each `(2, *shape)`."""
    raw_sizes, raw_slopes = split(params, bins)
    found = find(along, values, place(soft_clip(raw_sizes, LOG_SIZE), raw_slopes, bound))
    return found.end, found.size, soft_clip(found.raw_slope, LOG_SLOPE).exp()


def evaluate(s: Tensor, d0: Tensor, d1: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """(y - y_k) / h_k and dy/dx (eqs. 4 and 5) at the place `theta` in (0, 1) of a bin.

    The mean slope of the bin is s, and the slopes at its two ends are d0 and d1.
    """
    rising, mixed, falling = theta.square(), theta * (1 - theta), (1 - theta).square()
    denominator = s + (d1 + d0 - 2 * s) * mixed
    share = (s * rising + d0 * mixed) / denominator
    return share, (s / denominator).square() * (d1 * rising + 2 * s * mixed + d0 * falling)


def rational_quadratic(bins: int, bound: float) -> Elementwise:
    """A spline of `bins` bins on [-bound, bound]. It is the identity outside, so that densities stay finite there."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return spline(params, x, bins, bound)

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return spline_inverse(params, y, bins, bound)

    return Elementwise(forward, inverse, 3 * bins - 1)
