"""The elementwise maps of flows with hand-written derivatives. They compute the same functions as the plain ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .fused import FusedElementwise, Written, mark_kept, with_derivative, zeros_for_none
from .spline import LOG_SIZE, LOG_SLOPE, find, place, rational_quadratic, split
from .transforms import additive, affine, shrinkage


class Affine(Written):
    """`(params, x, bound) -> (x exp(s) + t, s)`."""

    @staticmethod
    def forward(params: Tensor, x: Tensor, bound: float) -> tuple[Tensor, ...]:
        shift, raw = params.unbind(0)
        shrink = shrinkage(raw, bound)
        log_scale = raw * shrink
        scale = log_scale.exp()
        return torch.addcmul(shift, x, scale), log_scale, shrink, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        mark_kept(ctx, output[2:])
        ctx.save_for_backward(inputs[1], *output[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, shrink, scale = ctx.saved_tensors
        grad_y, grad_log_scale = zeros_for_none(grads[:2], x)
        grad_x = grad_y * scale
        grad_raw = torch.addcmul(grad_log_scale, grad_x, x) * (shrink * shrink)
        return torch.cat([grad_y, grad_raw]).view(2, *x.shape), grad_x, None


class Additive(Written):
    """`(params, x) -> (x + t, 0)`."""

    @staticmethod
    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return x + params[0], torch.zeros_like(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        mark_kept(ctx, output[1:])
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        grad_y, _ = zeros_for_none(grads[:2], ctx.saved_tensors[0])
        return grad_y.unsqueeze(0), grad_y


def fused_affine(bound: float) -> FusedElementwise:
    """`affine` with a hand-written derivative."""
    return with_derivative(affine(bound), Affine, bound)


def fused_additive() -> FusedElementwise:
    """`additive` with a hand-written derivative."""
    return with_derivative(additive(), Additive)


class RationalQuadratic(Written):
    """`(params, x, bins, bound) -> (y, log dy/dx)` (Durkan et al. 2019, eqs. 4 and 5).

    Dimensions of size 1 of the parameters are broadcast, and their knots are computed once.
    """

    @staticmethod
    def forward(params: Tensor, x: Tensor, bins: int, bound: float) -> tuple[Tensor, ...]:
        raw_sizes, raw_slopes = split(params, bins)
        shrink = shrinkage(raw_sizes, LOG_SIZE)
        knots = place(raw_sizes * shrink, raw_slopes, bound)
        inside, clamped = x.abs() < bound, x.clamp(-bound, bound)
        index, end, size, raw_slope = find(0, clamped, knots)
        steep_shrink = shrinkage(raw_slope, LOG_SLOPE)
        steep = (raw_slope * steep_shrink).exp()
        (left, bottom), (w, h), (d0, d1) = end.unbind(0), size.unbind(0), steep.unbind(0)

        # With t = theta and s = h / w: y = y_k + h r, r = num / den, and dy/dx = s^2 top / den^2.
        t, s = (clamped - left) / w, h / w
        u = 1 - t
        tu, tt = t * u, t * t
        den = torch.addcmul(s, torch.sub(d0 + d1, s, alpha=2), tu)
        r = torch.addcmul(s * tt, d0, tu) / den
        top = torch.addcmul(torch.addcmul(d1 * tt, s, tu, value=2), d0 * u, u)
        ratio = s / den
        slope = ratio * ratio * top
        y, log_slope = torch.addcmul(bottom, h, r), torch.where(inside, slope.log(), 0.0)
        kept = (knots.sizes, shrink, inside, index, end, size, steep, steep_shrink, t, slope, s, r, den, top)
        return torch.where(inside, y, x), log_slope, *kept

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

        # Derivatives of y = y_k + h r and log dy/dx = 2 log s + log top - 2 log den by num and den, then by d0, d1, s
        # and x.
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

        # The size of a bin moves the lower ends of all bins after it, and changes the shape of the bin itself.
        at = index.unsqueeze(0)
        of_end, of_size = torch.stack([back, grad_y, grad_width, grad_height]).chunk(2)
        before = (index.to(t) - torch.arange(bins, device=t.device).reshape(-1, *[1] * index.ndim)).clamp(0, 1)
        mean = torch.addcmul(of_end * (end + bound), of_size, size) / (
            -2 * bound
        )  # the mean over the softmax, with its sign
        of_sizes = torch.addcmul(mean.unsqueeze(1), before, of_end.unsqueeze(1))
        of_sizes.scatter_add_(1, at.expand(2, 1, *index.shape), of_size.unsqueeze(1))
        of_sizes = of_sizes.sum_to_size(sizes.shape) * sizes * (shrink * shrink)
        of_ends = torch.stack([grad_d0, grad_d1]) * steep * (steep_shrink * steep_shrink)
        of_slopes = torch.zeros_like(before[:1]).expand(bins + 1, *index.shape).scatter(0, at, of_ends[:1])
        of_slopes = of_slopes.scatter_add_(0, at + 1, of_ends[1:])[1:-1].sum_to_size(bins - 1, *sizes.shape[2:])
        return torch.cat([of_sizes.flatten(0, 1), of_slopes]), torch.where(inside, grad_x, grad), None, None


def fused_rational_quadratic(bins: int, bound: float) -> FusedElementwise:
    """`rational_quadratic` with a hand-written derivative."""
    return with_derivative(rational_quadratic(bins, bound), RationalQuadratic, bins, bound)
