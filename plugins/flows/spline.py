"""The monotonic rational-quadratic spline of neural spline flows (Durkan et al. 2019, section 3.1 and appendix A)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .transforms import Elementwise, Written, mark_kept, shrinkage, zeros_for_none

LOG_SLOPE = 6.907755278982137
"""ln 1000: knots have slopes in (1/1000, 1000); bins of one spline differ in size by less than a factor of 1000."""


class Segment(NamedTuple):
    """What a point's bin says of it: the equation's x_k, y_k, w_k, h_k and the slopes at the bin's two ends."""

    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    next_slope: Tensor

    @classmethod
    def of(cls, place: Place) -> Segment:
        """The segment at a place."""
        return cls(*place.end.unbind(0), *place.size.unbind(0), *place.slope.unbind(0))


def knots(params: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From raw parameters `(3 bins - 1, *shape)`: bin sizes and their lower ends, `(2, bins, *shape)`, x first then y;
    what their soft clip multiplies them by; and the raw slopes at all knots `(bins + 1, *shape)`, 0 at the two ends,
    where the identity takes over.
    """
    shape = params.shape[1:]
    raw_sizes, raw_slopes = params.tensor_split([2 * bins])
    shrink = shrinkage(raw_sizes, LOG_SLOPE / 2).view(2, bins, *shape)
    sizes = torch.softmax(raw_sizes.reshape(2, bins, *shape) * shrink, dim=1) * (2 * bound)
    earlier = params.new_ones((bins, bins)).tril(-1).expand(2, -1, -1)  # much faster than a cumulative sum
    ends = torch.baddbmm(params.new_full((), -bound), earlier, sizes.flatten(2)).view_as(sizes)
    zero = params.new_zeros((1, *shape))
    return sizes, ends, shrink, torch.cat([zero, raw_slopes, zero])


class Place(NamedTuple):
    """Where points `(*shape)` lie: the numbers of their bins; the bins' lower ends and sizes, `(2, *shape)`, x first
    then y; the slopes at the bins' two ends, `(2, *shape)`, and what the soft clip multiplies their logarithms by.
    """

    number: Tensor
    end: Tensor
    size: Tensor
    slope: Tensor
    shrink: Tensor


def locate(x: Tensor, along: int, sizes: Tensor, ends: Tensor, raw_slopes: Tensor) -> Place:
    """The places of x (`along` 0) or of y (1) among the knots, whose shapes are broadcast against theirs."""
    index = (x >= ends[along, 1:]).sum(0)  # none lies beyond the last
    at = index.unsqueeze(0)
    pair = at.expand(2, 1, *x.shape)
    end, size = (values.expand(2, -1, *x.shape).gather(1, pair).squeeze(1) for values in (ends, sizes))
    raw = raw_slopes.expand(-1, *x.shape).gather(0, torch.cat([at, at + 1]))
    shrink = shrinkage(raw, LOG_SLOPE)
    return Place(index, end, size, (raw * shrink).exp(), shrink)


class RationalQuadratic(Written):
    """`(params, x) -> (y, log dy/dx)` with the derivatives written out (eqs. 4 and 5).

    Dimensions of size 1 of the parameters are broadcast: their knots are found once.
    """

    @staticmethod
    def forward(params: Tensor, x: Tensor, bins: int, bound: float) -> tuple[Tensor, ...]:
        sizes, ends, shrink, raw_slopes = knots(params, bins, bound)
        inside = x.abs() < bound
        clamped = x.clamp(-bound, bound)
        place = locate(clamped, 0, sizes, ends, raw_slopes)
        bin_ = Segment.of(place)
        theta = (clamped - bin_.left) / bin_.width
        y, slope, *terms = evaluate(bin_, theta)
        y, log_slope = torch.where(inside, y, x), torch.where(inside, slope.log(), 0.0)
        return y, log_slope, sizes, shrink, inside, *place, theta, slope, *terms

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, ctx.bins, ctx.bound = inputs
        mark_kept(ctx, output[2:])
        ctx.save_for_backward(*output[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        sizes, shrink, inside, index, end, size, steep, steep_shrink, t, slope, s, r, den, top = ctx.saved_tensors
        bins, bound, (grad, grad_log) = ctx.bins, ctx.bound, zeros_for_none(grads[:2], t)
        (w, h), (d0, d1) = size.unbind(0), steep.unbind(0)
        grad_y, grad_log = grad * inside, grad_log * inside

        # With t = theta and s = h / w: y = y_k + h r, r = num / den, and log dy/dx = 2 log s + log top - 2 log den.
        u = 1 - t
        tt, tu, uu, straight = t * t, t * u, u * u, u - t
        through_top, twice = grad_log / top, grad_log + grad_log
        grad_num = grad_y * h / den
        to_den = torch.addcmul(twice / den, grad_num, r)
        rest = grad_num - to_den
        grad_d0 = torch.addcmul(rest * tu, through_top, uu)
        grad_d1 = torch.addcmul(through_top * tt, to_den, tu, value=-1)
        grad_s = torch.addcmul(rest * tt, to_den, uu, value=-1).addcmul(through_top, tu, value=2).addcdiv(twice, s)
        half_top = torch.addcmul(d1 * t, s, straight).addcmul(d0, u, value=-1)  # half the derivative of top
        bend = torch.sub(d0 + d1, s, alpha=2)
        curve = half_top / top - bend * straight / den  # half the derivative of log dy/dx
        grad_x = torch.addcdiv(grad_y * slope, twice * curve, w)
        back, of_height = -grad_x, grad_s / w
        grad_width = torch.addcmul(back * t, of_height, s, value=-1)
        grad_height = torch.addcmul(of_height, grad_y, r)

        # A bin's size moves the lower ends of all bins after it, and shapes its own.
        at = index.unsqueeze(0)
        of_end, of_size = torch.stack([back, grad_y, grad_width, grad_height]).chunk(2)
        before = (index.to(t) - torch.arange(bins, device=t.device).reshape(-1, *[1] * index.ndim)).clamp(0, 1)
        mean = torch.addcmul(of_end * (end + bound), of_size, size) / (-2 * bound)  # over the softmax, and its sign
        of_sizes = torch.addcmul(mean.unsqueeze(1), before, of_end.unsqueeze(1))
        of_sizes.scatter_add_(1, at.expand(2, 1, *index.shape), of_size.unsqueeze(1))
        of_sizes = of_sizes.sum_to_size(sizes.shape) * sizes * (shrink * shrink)
        of_ends = torch.stack([grad_d0, grad_d1]) * steep * (steep_shrink * steep_shrink)
        of_slopes = torch.zeros_like(before[:1]).expand(bins + 1, *index.shape).scatter(0, at, of_ends[:1])
        of_slopes = of_slopes.scatter_add_(0, at + 1, of_ends[1:])[1:-1].sum_to_size(bins - 1, *sizes.shape[2:])
        return torch.cat([of_sizes.flatten(0, 1), of_slopes]), torch.where(inside, grad_x, grad), None, None


def evaluate(bin_: Segment, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """At the place `theta` in (0, 1) of a bin: y, dy/dx (eqs. 4 and 5), and their terms s, num / den, den and top, with
    dy/dx = s^2 top / den^2.
    """
    d0, d1, s = bin_.slope, bin_.next_slope, bin_.height / bin_.width
    u = 1 - theta
    tu, tt = theta * u, theta * theta
    den = torch.addcmul(s, torch.sub(d0 + d1, s, alpha=2), tu)
    r = torch.addcmul(s * tt, d0, tu) / den
    top = torch.addcmul(torch.addcmul(d1 * tt, s, tu, value=2), d0 * u, u)
    ratio = s / den
    return torch.addcmul(bin_.bottom, bin_.height, r), ratio * ratio * top, s, r, den, top


def spline_inverse(params: Tensor, y: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """`(x, log dx/dy)` by the quadratic formula in its stable form (eqs. 6 to 8)."""
    sizes, ends, _, raw_slopes = knots(params, bins, bound)
    inside = y.abs() < bound
    clamped = y.clamp(-bound, bound)
    bin_ = Segment.of(locate(clamped, 1, sizes, ends, raw_slopes))
    s = bin_.height / bin_.width
    rise = clamped - bin_.bottom
    bend = rise * (bin_.slope + bin_.next_slope - 2 * s)
    a = bin_.height * (s - bin_.slope) + bend
    b = bin_.height * bin_.slope - bend
    c = -s * rise
    theta = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
    x = bin_.left + bin_.width * theta
    slope = evaluate(bin_, theta)[1]
    return torch.where(inside, x, y), torch.where(inside, -slope.log(), 0.0)


def rational_quadratic(bins: int, bound: float) -> Elementwise:
    """A spline of `bins` bins on [-bound, bound] and the identity outside it, where densities therefore stay finite."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = RationalQuadratic.apply(params, x, bins, bound)[:2]
        return y, log_slope

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return spline_inverse(params, y, bins, bound)

    return Elementwise(forward, inverse, 3 * bins - 1, RationalQuadratic, (bins, bound))
