"""The loops over planar and radial layers with hand-written derivatives. All else is batched over the layers.

A layer is a few operations on small tensors, for which the overhead of autograd is larger than the arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Activations(torch.autograd.Function):
    """`(s, a) -> h` with h_j = tanh(s_j + the sum over i < j of a_ji h_i), `(k, n)` and `(k, k)` to `(k, n)`."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, a: Tensor) -> Tensor:
        h = torch.empty_like(s)
        for j, (s_j, a_j, h_j) in enumerate(zip(s.unbind(), a.unbind(), h.unbind(), strict=True)):
            torch.tanh(torch.addmv(s_j, h[:j].t(), a_j[:j]) if j else s_j, out=h_j)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, h = ctx.saved_tensors
        grad_s, slopes = torch.empty_like(h), (1 - h * h).unbind()
        columns, rows = a.t().unbind(), grad.unbind()
        for j, of_s in reversed([*enumerate(grad_s.unbind())]):
            later = slice(j + 1, None)
            of_h = torch.addmv(rows[j], grad_s[later].t(), columns[j][later]) if j + 1 < len(rows) else rows[j]
            torch.mul(slopes[j], of_h, out=of_s)
        return grad_s, (grad_s @ h.t()).tril(-1)


class RadialPass(torch.autograd.Function):
    """`(x, c, alpha, beta) -> (y, r)`: radial layers, y = x + beta (x - c) / (alpha + r) with r = |x - c|, in turn.

    x and y have shape `(d, n)`, the centers c of the layers `(k, d)`, alpha and beta `(k,)`, and r `(k, n)`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, c: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        r, offsets = x.new_empty((len(c), x.shape[1])), []
        layers = zip(c.unsqueeze(2).unbind(), alpha.unbind(), beta.unbind(), r.unbind(), strict=True)
        for center, alpha_j, beta_j, r_j in layers:
            offset = x - center
            torch.linalg.vector_norm(offset, dim=0, out=r_j)
            x = torch.addcmul(x, offset, beta_j / (alpha_j + r_j))
            offsets.append(offset)
        ctx.save_for_backward(alpha, beta, r, *offsets)
        return x, r

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_r: Tensor) -> tuple[Tensor, ...]:
        alpha, beta, r, *offsets = ctx.saved_tensors
        reach = alpha.unsqueeze(1) + r
        h = beta.unsqueeze(1) / reach
        back = -h / reach  # the derivative of h by r, and by alpha
        per_r = torch.where(r > 0, 1 / r, 0.0)
        direct, through_h = grad_r * per_r, back * per_r
        of_h, of_offsets = torch.empty_like(r), []
        for j, offset in reversed([*enumerate(offsets)]):
            torch.sum(grad * offset, 0, out=of_h[j])
            pull = torch.addcmul(direct[j], of_h[j], through_h[j])
            of_offset = torch.addcmul(grad * h[j], offset, pull)
            grad = grad + of_offset
            of_offsets.append(of_offset)
        of_c = -torch.stack(of_offsets[::-1]).sum(2)
        return grad, of_c, (of_h * back).sum(1), (of_h / reach).sum(1)


def activations(s: Tensor, a: Tensor) -> Tensor:
    """`Activations` without a hand-written derivative."""
    found: list[Tensor] = []
    for j, s_j in enumerate(s.unbind()):
        found.append(torch.tanh(s_j + a[j, :j] @ torch.stack(found) if j else s_j))
    return torch.stack(found)


def radial_pass(x: Tensor, c: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """`RadialPass` without a hand-written derivative."""
    found: list[Tensor] = []
    for center, alpha_j, beta_j in zip(c.unsqueeze(2).unbind(), alpha.unbind(), beta.unbind(), strict=True):
        offset = x - center
        found.append(torch.linalg.vector_norm(offset, dim=0))
        x = x + offset * (beta_j / (alpha_j + found[-1]))
    return x, torch.stack(found)
