"""MLPs and coupling layers with hand-written derivatives. They compute the same functions as the plain ones, faster.

For a small layer, the overhead of autograd per operation is larger than the arithmetic. Here an MLP is one operation
for autograd, and so is a whole stack of coupling layers. The elementwise maps are in `fused_maps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .conditioners import Masked, Perceptron
from .coupling import Couplings, in_turn
from .transforms import Elementwise


def is_plain() -> bool:
    """Whether the code runs eagerly: not traced by torch.compile, and not under a transformation of torch.func."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


class Written(torch.autograd.Function):
    """A pure function with a hand-written first derivative, which torch.func.vmap can batch.

    Its gradient cannot be differentiated again.
    """

    generate_vmap_rule = True
    derivative: Callable[..., Any]
    """`backward` as the subclass defines it, without the wrapper."""

    def __init_subclass__(cls) -> None:
        cls.derivative = cls.backward
        cls.backward = staticmethod(once_differentiable(cls.backward))  # type: ignore[method-assign, assignment]

    @classmethod
    def apply(cls, *args: Any) -> Any:
        # The `apply` of torch binds arguments by name at each call, which takes longer than a small layer.
        if is_plain():
            return super(torch.autograd.Function, cls).apply(*args)  # type: ignore[misc]
        return super().apply(*args)  # type: ignore[no-untyped-call]


class Record:
    """One call of a `Written` function with the tensors that its derivative needs, without the overhead of autograd."""

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
        """Gradients of the inputs, from the gradients of the outputs."""
        return self.function.derivative(self, *grads)


def mark_kept(ctx: Any, kept: tuple[Tensor, ...]) -> None:
    """Mark outputs that a `Written` function returns only for its derivative, so that they get no gradients."""
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)


def zeros_for_none(grads: tuple[Tensor | None, ...], like: Tensor) -> list[Tensor]:
    """The gradients of outputs that have the shape of `like`, with zeros for outputs that were not used."""
    return [torch.zeros_like(like) if grad is None else grad for grad in grads]


# Elementwise maps


@dataclass(frozen=True)
class FusedElementwise(Elementwise):
    """An elementwise map whose `forward` is the `Written` function (params, x, *constants) -> (y, log|dy/dx|, ...)."""

    function: type[Written]
    constants: tuple[float, ...]


def with_derivative(plain: Elementwise, function: type[Written], *constants: float) -> FusedElementwise:
    """The map `plain` with a `Written` function in place of its forward direction."""

    def forward(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope, *_ = function.apply(params, x, *constants)
        return y, log_slope

    return FusedElementwise(forward, plain.inverse, plain.width, function, constants)


# MLPs

relu_backward = torch.ops.aten.threshold_backward.grad_input
"""Sets the gradient to 0 where a unit is 0, because ReLU or dropout has set it to 0."""


class Layers(Written):
    """Linear layers with ReLU and dropout between them.

    The arguments are `(h, dropout, weight, bias, ...)`, with h `(n_in, n)` and biases as columns, `(n_out, 1)`. The
    output is `(n_out, n)`.
    """

    @staticmethod
    def forward(h: Tensor, dropout: float, *layers: Tensor) -> tuple[Tensor, ...]:
        activations = []
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            h = torch.addmm(bias, weight, h).relu_()
            if dropout:
                h = F.dropout(h, dropout)
            activations.append(h)
        return torch.addmm(layers[-1], layers[-2], h), *activations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        h, ctx.dropout, *layers = inputs
        ctx.count = len(layers) // 2
        mark_kept(ctx, output[1:])
        ctx.save_for_backward(*layers[::2], h, *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None:
            return tuple([None] * (2 + 2 * ctx.count))
        weights, inputs = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        grad, of_layers = through_layers(grads[0], ctx.dropout, weights, inputs)
        return grad, None, *of_layers


def through_layers(
    grad: Tensor, dropout: float, weights: Sequence[Tensor], inputs: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The derivative of `Layers`: the gradient of its input, and the gradients of its weights and biases.

    `grad` is the gradient of the output, and `inputs` holds the input of each layer.
    """
    found = []
    for number in reversed(range(len(weights))):
        found += [grad.sum(1, keepdim=True), grad @ inputs[number].t()]
        grad = weights[number].t() @ grad
        if number > 0:  # a unit that ReLU or dropout has set to 0 has no gradient
            grad = torch.ops.aten.threshold_backward(grad, inputs[number], 0)
            if dropout:
                grad = grad / (1 - dropout)
    return grad, found[::-1]


class Octaves(Written):
    """`(x, frequencies)` to x with its sines and cosines at these angular frequencies: `(n_in, n)` to `(n_out, n)`."""

    @staticmethod
    def forward(x: Tensor, frequencies: Tensor) -> tuple[Tensor, ...]:
        phases = (frequencies.reshape(-1, 1, 1) * x).flatten(0, 1)
        sines, cosines = phases.sin(), phases.cos()
        return torch.cat([x, sines, cosines]), sines, cosines

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        mark_kept(ctx, output[1:])
        ctx.save_for_backward(inputs[1], *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        if grads[0] is None:
            return None, None
        frequencies, sines, cosines = ctx.saved_tensors
        d = grads[0].shape[0] - 2 * sines.shape[0]
        grad, grad_sines, grad_cosines = torch.split(grads[0], [d, sines.shape[0], sines.shape[0]])
        waves = torch.addcmul(grad_sines * cosines, grad_cosines, sines, value=-1)
        slopes = frequencies.reshape(-1, 1, 1) * waves.reshape(-1, d, waves.shape[1])
        return grad + slopes.sum(0), None


class FusedPerceptron(Perceptron):
    """A perceptron with hand-written derivatives."""

    def features(self, x: Tensor) -> Tensor:
        value: Tensor = Octaves.apply(x, self.frequencies.to(x))[0] if self.octaves else x
        return value

    def through(self, h: Tensor, layers: Sequence[Tensor]) -> Tensor:
        value: Tensor = Layers.apply(h, self.active_dropout(), *layers)[0]
        return value


class FusedMasked(Masked, FusedPerceptron):
    """A masked MLP with hand-written derivatives."""


# Coupling layers


class FusedCouplings(Couplings):
    """Coupling layers that are one operation for autograd, if their elementwise map has a hand-written derivative.

    If the code is traced or transformed, each part of the layers is an operation of its own.
    """

    network = FusedPerceptron

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(y, log|det dy/dx|)`."""
        if isinstance(self.elementwise, FusedElementwise) and torch.is_grad_enabled() and is_plain():
            recorded: tuple[Tensor, Tensor] = Recorded.apply(self, x, *self.stacked)  # type: ignore[no-untyped-call]
            return recorded
        return super().forward(x)


class Recorded(torch.autograd.Function):
    """`Couplings` as one operation for autograd: `(couplings, x, *stacked) -> (y, log|det dy/dx|)`.

    The overhead of autograd and of module hooks at each layer would be larger than the arithmetic of the layer.
    """

    @staticmethod
    def forward(ctx: Any, couplings: FusedCouplings, x: Tensor, *stacked: Tensor) -> tuple[Tensor, Tensor]:
        map_ = couplings.elementwise
        assert isinstance(map_, FusedElementwise)
        ctx.couplings, ctx.stacked, ctx.records = couplings, stacked, []
        halves, slopes = couplings.halves(x.T), []
        for number, net, layers in couplings.each(stacked):
            kept, moving = in_turn(number, couplings.shuffled(number, halves))
            octaves = Record(Octaves, kept, net.frequencies.to(x)) if net.octaves else None
            h = kept if octaves is None else octaves.outputs[0]
            out, *activations = Layers.forward(h, net.active_dropout(), *layers)
            call = Record(map_.function, out.view(net.width, net.n_out, -1), moving, *map_.constants)
            moved, log_slopes = call.outputs[:2]
            ctx.records.append((call, octaves, (h, *activations)))
            slopes.append(log_slopes)
            halves = in_turn(number, (kept, moved))
        return torch.cat(halves).T, torch.cat(slopes).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_logdet: Tensor) -> tuple[Tensor | None, ...]:
        couplings, stacked = ctx.couplings, ctx.stacked
        found = [torch.empty_like(tensor) for tensor in stacked]
        triples = zip([weight.mT for weight in stacked[::2]], found[::2], found[1::2], strict=True)
        layers_of = couplings.each(tensor for triple in triples for tensor in triple)
        halves = couplings.halves(grad_y.T)
        steps = [*zip(layers_of, ctx.records, strict=True)]
        for (number, net, layers), (call, octaves, inputs) in reversed(steps):
            grad_kept, grad_moved = in_turn(number, halves)
            grad_params, grad_moving, *_ = call.backward(grad_moved, grad_logdet)
            grad = to_first_layer(grad_params.view(-1, len(grad_y)), layers, inputs, net.active_dropout())
            if octaves is None:
                grad_kept = torch.addmm(grad_kept, layers[0], grad)
            else:
                grad_kept = grad_kept + octaves.backward(layers[0] @ grad)[0]
            halves = couplings.shuffled(number, in_turn(number, (grad_kept, grad_moving)), back=True)
        return None, torch.cat(halves).T, *found


def to_first_layer(grad: Tensor, layers: Sequence[Tensor], inputs: Sequence[Tensor], dropout: float) -> Tensor:
    """The gradient of the output of the first linear layer of a network, from that of the last, `grad`.

    `layers` holds for each layer its transposed weight, and the tensors into which the gradients of its weight and bias
    are written. `inputs` holds the input of each layer.
    """
    for weight, of_weight, of_bias, h in reversed([*zip(layers[::3], layers[1::3], layers[2::3], inputs, strict=True)]):
        torch.sum(grad, 1, keepdim=True, out=of_bias)
        torch.mm(grad, h.t(), out=of_weight)
        if h is inputs[0]:
            break
        grad = torch.mm(weight, grad)
        relu_backward(grad, h, 0, grad_input=grad)  # in place, so that the tensors of a step fit in the cache
        if dropout:
            grad.div_(1 - dropout)
    return grad
