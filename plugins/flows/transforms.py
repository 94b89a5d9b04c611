"""Invertible maps of single coordinates, as pure functions of their parameters.

A pair of functions `(params, x) -> (y, log|dy/dx|)` and its inverse `(params, y) -> (x, log|dx/dy|)`. `x` has any
shape, `params` has shape `(width, *x.shape)`: `width` numbers for each coordinate, and the log-derivative is that of
each coordinate. The parameters lead, so that what runs over them (softmax, sums) is vectorized over the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def is_plain() -> bool:
    """Whether the code runs as it stands: neither traced by torch.compile nor under a transformation of torch.func."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


class Written(torch.autograd.Function):
    """A pure function whose first derivative is written out, and which torch.func.vmap batches.

    Its gradient cannot be differentiated again.
    """

    generate_vmap_rule = True
    derivative: Callable[..., Any]
    """`backward` as it is written."""

    def __init_subclass__(cls) -> None:
        cls.derivative = cls.backward
        cls.backward = staticmethod(once_differentiable(cls.backward))  # type: ignore[method-assign, assignment]

    @classmethod
    def apply(cls, *args: Any) -> Any:
        # torch binds arguments by name at each call, which takes longer than a small layer.
        if is_plain():
            return super(torch.autograd.Function, cls).apply(*args)  # type: ignore[misc]
        return super().apply(*args)  # type: ignore[no-untyped-call]


class Elementwise(NamedTuple):
    """An invertible map of single coordinates: its two directions and how many parameters a coordinate has; and the
    written function behind `forward` with its constants, if there is one.
    """

    forward: Pure
    inverse: Pure
    width: int
    written: type[Written] | None = None
    constants: tuple[float, ...] = ()


class Record:
    """One call of a written function, with what its derivative needs: autograd without its cost for each call."""

    def __init__(self, function: type[Written], *inputs: Any) -> None:
        self.function = function
        self.outputs: tuple[Tensor, ...] = function.forward(*inputs)
        self.saved_tensors: tuple[Tensor, ...] = ()
        function.setup_context(self, inputs, self.outputs)

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...

    def backward(self, *grads: Tensor) -> Any:
        """Gradients of the inputs, from those of the outputs."""
        return self.function.derivative(self, *grads)


def mark_kept(ctx: Any, kept: tuple[Tensor, ...]) -> None:
    """Mark the outputs that a written function keeps for its derivative alone: no gradients, not even 0."""
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)


def zeros_for_none(grads: tuple[Tensor | None, ...], like: Tensor) -> list[Tensor]:
    """The gradients of outputs of one shape, zeros for outputs that were not used."""
    return [torch.zeros_like(like) if grad is None else grad for grad in grads]


def soft_clip(x: Tensor, bound: float) -> Tensor:
    """A smooth clip to (-bound, bound) with slope 1 at 0: x / (1 + |x| / bound)."""
    return x * shrinkage(x, bound)


def shrinkage(x: Tensor, bound: float) -> Tensor:
    """What the soft clip multiplies `x` by; its square is the clip's slope."""
    return torch.rsub(x.abs(), 1, alpha=-1 / bound).reciprocal()


class Affine(Written):
    """`(params, x) -> (x exp(s) + t, s)`."""

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


def affine(bound: float) -> Elementwise:
    """y = x exp(s) + t with t = params[0] and s = soft_clip(params[1]) (Dinh et al. 2017, eq. 4).

    The clip keeps the scale in (exp(-bound), exp(bound)), so that densities stay finite far from the data.
    """

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_scale, *_ = Affine.apply(params, x, bound)
        return y, log_scale

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(0)
        log_scale = -soft_clip(raw, bound)
        return (y - shift) * log_scale.exp(), log_scale

    return Elementwise(forward, inverse, 2, Affine, (bound,))


def additive() -> Elementwise:
    """y = x + t with t = params[0]: keeps volumes (Dinh et al. 2015, eq. 5)."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + params[0], torch.zeros_like(x)

    def inverse(params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return y - params[0], torch.zeros_like(y)

    return Elementwise(forward, inverse, 1)
