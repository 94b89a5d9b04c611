"""The monotonic rational-quadratic spline of neural spline flows (Durkan et al. 2019, section 3.1 and appendix A)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from trilemma.plugins.flows.transforms import Elementwise, Written, mark_kept, zeros_for_none

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


def knots(params: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From raw parameters `(3 bins - 1, *shape)`: bin sizes and their lower ends, `(2, bins, *shape)`, x first then y,
    the slopes at all knots `(bins + 1, *shape)`, 1 at the two ends, where the identity takes over; and what the soft
    clips multiply the raw parameters by.
    """
    shape = params.shape[1:]
    of_sizes, of_slopes = params.abs().tensor_split([2 * bins])
    shrink = torch.cat([of_sizes * (2 / LOG_SLOPE), of_slopes * (1 / LOG_SLOPE)]).add_(1).reciprocal_()
    raw_sizes, raw_slopes = (params * shrink).tensor_split([2 * bins])
    sizes = torch.softmax(raw_sizes.reshape(2, bins, *shape), dim=1) * (2 * bound)
    ends = (sizes.cumsum(1) - sizes).sub_(bound)
    one = params.new_ones((1, *shape))
    return sizes, ends, torch.cat([one, raw_slopes.exp(), one]), shrink


def passed(ends: Tensor, x: Tensor) -> Tensor:
    """Which of the bins `x` lies beyond, from the bins' lower ends `(bins, *shape)`; none lies beyond the last."""
    return x >= ends[1:]


def segment(sizes: Tensor, ends: Tensor, slopes: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lower end and size, x and y, and the two slopes, each `(2, *shape)`, of every point's bin `index`, `(*shape)`."""
    at = index.unsqueeze(0)
    pair = at.unsqueeze(0).expand(2, *at.shape)
    return ends.gather(1, pair).squeeze(1), sizes.gather(1, pair).squeeze(1), slopes.gather(0, torch.cat([at, at + 1]))


class RationalQuadratic(Written):
    """`(params, x) -> (y, log dy/dx)` with the derivatives written out (eqs. 4 and 5)."""

    @staticmethod
    def forward(params: Tensor, x: Tensor, bins: int, bound: float) -> tuple[Tensor, ...]:
        sizes, ends, slopes, shrink = knots(params, bins, bound)
        inside = x.abs() < bound
        clamped = x.clamp(-bound, bound)
        index = passed(ends[0], clamped).sum(0)
        corner, size, steep = segment(sizes, ends, slopes, index)
        bin_ = Segment(*corner.unbind(0), *size.unbind(0), *steep.unbind(0))
        theta = (clamped - bin_.left) / bin_.width
        y, slope, *terms = evaluate(bin_, theta)
        y, log_slope = torch.where(inside, y, x), torch.where(inside, slope.log(), 0.0)
        return y, log_slope, shrink, sizes, slopes, index, inside, size, steep, theta, slope, *terms

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, ctx.bins, ctx.bound = inputs
        mark_kept(ctx, output[2:])
        ctx.save_for_backward(*output[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        shrink, sizes, slopes, index, inside, size, steep, t, slope, s, r, den, top = ctx.saved_tensors
        bins, (grad, grad_log) = ctx.bins, zeros_for_none(grads[:2], t)
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
        steps = torch.arange(bins, device=index.device).reshape(-1, *[1] * index.ndim)
        before, own = steps < index, steps == index
        of_end, of_size = torch.stack([back, grad_y, grad_width, grad_height]).unsqueeze(1).chunk(2)
        weighted = torch.where(before, of_end, torch.where(own, of_size, 0.0)).mul_(sizes)
        grad_logits = torch.addcmul(weighted, sizes, weighted.sum(1, keepdim=True), value=-0.5 / ctx.bound)
        grad_slopes = torch.where(own[1:], grad_d0, torch.where(own[:-1], grad_d1, 0.0)) * slopes[1:-1]
        grad_params = torch.cat([grad_logits.flatten(0, 1), grad_slopes]) * (shrink * shrink)
        return grad_params, torch.where(inside, grad_x, grad), None, None


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
    sizes, ends, slopes, _ = knots(params, bins, bound)
    inside = y.abs() < bound
    clamped = y.clamp(-bound, bound)
    corner, size, steep = segment(sizes, ends, slopes, passed(ends[1], clamped).sum(0))
    bin_ = Segment(*corner.unbind(0), *size.unbind(0), *steep.unbind(0))
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
