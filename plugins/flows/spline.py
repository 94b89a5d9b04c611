"""The monotonic rational-quadratic spline of neural spline flows (Durkan et al. 2019, section 3.1 and appendix A)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from trilemma.plugins.flows.transforms import Elementwise, soft_clip

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


def knots(params: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """From raw parameters `(3 bins - 1, *shape)`: bin sizes and their lower ends, `(2, bins, *shape)`, x first then y,
    and the slopes at all knots `(bins + 1, *shape)`, 1 at the two ends, where the identity takes over.
    """
    shape = params.shape[1:]
    raw = params[: 2 * bins].reshape(2, bins, *shape)
    sizes = 2 * bound * torch.softmax(soft_clip(raw, LOG_SLOPE / 2), dim=1)
    start = sizes.new_full((2, 1, *shape), -bound)
    ends = torch.cat([start, sizes[:, :-1]], dim=1).cumsum(1)
    one = params.new_ones((1, *shape))
    slopes = torch.cat([one, soft_clip(params[2 * bins :], LOG_SLOPE).exp(), one])
    return sizes, ends, slopes


def segment(sizes: Tensor, ends: Tensor, slopes: Tensor, index: Tensor) -> Segment:
    """The bin `index`, `(*shape)`, of every point."""
    at = index.unsqueeze(0)
    pair = at.unsqueeze(0).expand(2, *at.shape)
    (left, bottom), (width, height) = ends.gather(1, pair).squeeze(1), sizes.gather(1, pair).squeeze(1)
    slope, next_slope = slopes.gather(0, torch.cat([at, at + 1]))
    return Segment(left, bottom, width, height, slope, next_slope)


def locate(ends: Tensor, x: Tensor) -> Tensor:
    """Index of the bin that holds `x`, from the bins' lower ends `(bins, *shape)`."""
    return (x >= ends[1:]).sum(0)


class RationalQuadratic(torch.autograd.Function):
    """`(params, x) -> (y, log dy/dx)` with the derivatives written out (eqs. 4 and 5)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(params: Tensor, x: Tensor, bins: int, bound: float) -> tuple[Tensor, ...]:
        sizes, ends, slopes = knots(params, bins, bound)
        inside = x.abs() < bound
        clamped = x.clamp(-bound, bound)
        index = locate(ends[0], clamped)
        bin_ = segment(sizes, ends, slopes, index)
        theta = (clamped - bin_.left) / bin_.width
        y, log_slope = _evaluate(bin_, theta)
        y, log_slope = torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)
        return y, log_slope, sizes, slopes, index, theta, inside, torch.stack(bin_)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        params, _, ctx.bins, ctx.bound = inputs
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(True)
        ctx.save_for_backward(params, *output[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        params, sizes, slopes, index, theta, inside, stacked = ctx.saved_tensors
        bins, grad_y, grad_log = ctx.bins, grads[0], grads[1]
        _, _, w, h, d0, d1 = stacked.unbind(0)
        outside_grad = torch.where(inside, 0.0, grad_y)
        grad_y, grad_log = torch.where(inside, grad_y, 0.0), torch.where(inside, grad_log, 0.0)

        # With t = theta and s = h / w: y = y_k + h r, r = num / den, and log dy/dx = 2 log s + log top - 2 log den.
        t, u, s = theta, 1 - theta, h / w
        tt, tu, uu = t * t, t * u, u * u
        bend = d0 + d1 - 2 * s
        inv_den = 1 / (s + bend * tu)
        r = (s * tt + d0 * tu) * inv_den
        top = d1 * tt + 2 * s * tu + d0 * uu
        inv_top = 1 / top
        grad_r = grad_y * h * inv_den  # gradient for r, over den
        through_top, through_den = grad_log * inv_top, 2 * grad_log * inv_den
        common = (grad_r * r + through_den) * tu  # what den passes on to either slope
        grad_d0 = grad_r * tu + through_top * uu - common
        grad_d1 = through_top * tt - common
        grad_s = grad_r * tt + 2 * (grad_log / s + through_top * tu) - (grad_r * r + through_den) * (1 - 2 * tu)
        straight = 1 - 2 * t
        grad_t = (
            grad_r * s * top * inv_den
            + 2 * through_top * (d1 * t + s * straight - d0 * u)
            - through_den * bend * straight
        )
        grad_x = grad_t / w
        grad_width = -(grad_t * t + grad_s * s) / w
        grad_height = grad_y * r + grad_s / w

        # A bin's size moves the lower ends of all bins after it, and shapes its own.
        steps = torch.arange(bins + 1, device=index.device).reshape(-1, *[1] * index.ndim)
        before, own = steps[:bins] < index, steps == index
        of_end = torch.stack([-grad_x, grad_y]).unsqueeze(1)
        of_size = torch.stack([grad_width, grad_height]).unsqueeze(1)
        grad_sizes = torch.where(before, of_end, torch.where(own[:bins], of_size, 0.0))
        weighted = sizes * grad_sizes
        share = sizes * (1 / (2 * ctx.bound))
        grad_logits = weighted - share * weighted.sum(1, keepdim=True)
        grad_slopes = torch.where(own[1:bins], grad_d0, torch.where(own[: bins - 1], grad_d1, 0.0)) * slopes[1:-1]
        grad_params = torch.cat([grad_logits.flatten(0, 1), grad_slopes])
        return grad_params * _clip_slope(params, bins), grad_x + outside_grad, None, None


def _clip_slope(params: Tensor, bins: int) -> Tensor:
    """Derivative of the soft clips of the raw parameters."""
    sizes, slopes = params.abs().tensor_split([2 * bins])
    return torch.cat([1 + sizes / (LOG_SLOPE / 2), 1 + slopes / LOG_SLOPE]).reciprocal().square()


def _evaluate(bin_: Segment, theta: Tensor) -> tuple[Tensor, Tensor]:
    """`(y, log dy/dx)` at the place `theta` in (0, 1) of a bin (eqs. 4 and 5)."""
    d0, d1, s = bin_.slope, bin_.next_slope, bin_.height / bin_.width
    u = 1 - theta
    tu, tt = theta * u, theta * theta
    den = s + (d0 + d1 - 2 * s) * tu
    y = bin_.bottom + bin_.height * (s * tt + d0 * tu) / den
    top = d1 * tt + 2 * s * tu + d0 * u * u
    return y, (s * s * top / (den * den)).log()


def spline_inverse(params: Tensor, y: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """`(x, log dx/dy)` by the quadratic formula in its stable form (eqs. 6 to 8)."""
    sizes, ends, slopes = knots(params, bins, bound)
    inside = y.abs() < bound
    clamped = y.clamp(-bound, bound)
    bin_ = segment(sizes, ends, slopes, locate(ends[1], clamped))
    s = bin_.height / bin_.width
    rise = clamped - bin_.bottom
    bend = rise * (bin_.slope + bin_.next_slope - 2 * s)
    a = bin_.height * (s - bin_.slope) + bend
    b = bin_.height * bin_.slope - bend
    c = -s * rise
    theta = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
    x = bin_.left + bin_.width * theta
    log_slope = _evaluate(bin_, theta)[1]
    return torch.where(inside, x, y), torch.where(inside, -log_slope, 0.0)


def rational_quadratic(bins: int, bound: float) -> Elementwise:
    """A spline of `bins` bins on [-bound, bound] and the identity outside it, where densities therefore stay finite."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = RationalQuadratic.apply(params, x, bins, bound)[:2]  # type: ignore[no-untyped-call]
        return y, log_slope

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return spline_inverse(params, y, bins, bound)

    return Elementwise(forward, inverse, 3 * bins - 1)
