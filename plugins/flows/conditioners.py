"""Networks that give the parameters of a flow's layers, with features before points in memory.

They map points `(n, d)` to parameters `(width, d_out, n)`. With the points last, what runs over parameters or
coordinates is vectorized over points, however few coordinates there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .transforms import Record, Written, mark_kept

RELU_GAIN = 2**0.5
"""Standard deviation times sqrt(fan-in) that keeps the second moment through a ReLU (He et al. 2015, eq. 10)."""


Pull = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""From the gradient of a network's output to that of its input; those of its layers go into the tensors given."""


class Conditioner(nn.Module):
    """A network of a flow, whose evaluations count as NFE."""


class Layers(Written):
    """Linear layers with ReLU and dropout between them: `(h, dropout, weight, bias, ...)`, h `(n_in, n)`, to
    `(n_out, n)`. Biases are columns, `(n_out, 1)`.
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
    grad: Tensor, dropout: float, weights: Sequence[Tensor], inputs: Sequence[Tensor], into: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Tensor]]:
    """The derivative of `Layers`: gradients of its input and of its layers, from that of its output, the layers'
    weights and what each was given. The layers' gradients lie in the tensors `into`, if there are any.
    """
    found = []
    for number in reversed(range(len(weights))):
        of_weight, of_bias = into[2 * number : 2 * number + 2] or (None, None)
        found.append(torch.sum(grad, 1, keepdim=True, out=of_bias))
        found.append(torch.mm(grad, inputs[number].t(), out=of_weight))
        grad = torch.mm(weights[number].t(), grad)
        if number > 0:  # a unit that is off, by ReLU or by dropout, is 0 and passes nothing on
            if into:  # in place: what a step touches should fit the cache
                torch.ops.aten.threshold_backward.grad_input(grad, inputs[number], 0, grad_input=grad)
            else:
                grad = torch.ops.aten.threshold_backward(grad, inputs[number], 0)
            if dropout:
                grad = grad / (1 - dropout)
    return grad, found[::-1]


class Octaves(Written):
    """`(x, frequencies)` to x with its sines and cosines at angular frequencies, `(n_in, n)` to `(n_out, n)`."""

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


class Perceptron(Conditioner):
    """An MLP with ReLU activations from `n_in` coordinates to `width` parameters of each of `n_out` coordinates. Its
    layers are given at each call.

    It sees each coordinate with its sines and cosines at the frequencies 1, 2, 4, ..., `octaves` of them
    (Tancik et al. 2020).
    """

    frequencies: Tensor

    def __init__(
        self, n_in: int, n_out: int, width: int, hidden: Sequence[int], *, octaves: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.n_out, self.dropout = width, n_out, dropout
        self.octaves = octaves
        self.sizes = [*pairwise((n_in * (1 + 2 * octaves), *hidden, width * n_out))]
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)

    def initial(self, *count: int, last_gain: float = 0.0) -> list[Tensor]:
        """Weight `(*count, out, in)` and bias `(*count, out, 1)` of each layer in turn, to start from.

        `last_gain` scales the last layer's weights: 0 starts at parameters 0, the identity.
        """
        gains = [RELU_GAIN] * (len(self.sizes) - 1) + [last_gain]
        layers = []
        for gain, (a, b) in zip(gains, self.sizes, strict=True):
            layers += [gain / a**0.5 * torch.randn(*count, b, a), torch.zeros(*count, b, 1)]
        return layers

    def forward(self, x: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """Points `(n, n_in)` to `(width, n_out, n)`, by the weight and bias of each layer in turn."""
        h = x.T
        if self.octaves:
            h = Octaves.apply(h, self.frequencies.to(x))[0]
        out: Tensor = Layers.apply(h, self.dropout if self.training else 0.0, *layers)[0]
        return out.reshape(self.width, self.n_out, -1)

    def record(self, x: Tensor, layers: Sequence[Tensor]) -> tuple[Tensor, Pull]:
        """`forward` of points `(n_in, n)`, with its derivative."""
        octaves = Record(Octaves, x, self.frequencies.to(x)) if self.octaves else None
        h = x if octaves is None else octaves.outputs[0]
        dropout = self.dropout if self.training else 0.0
        out, *activations = Layers.forward(h, dropout, *layers)

        def pull(grad: Tensor, into: Sequence[Tensor]) -> Tensor:
            grad_h, _ = through_layers(grad.view(out.shape), dropout, layers[::2], [h, *activations], into)
            grad_x: Tensor = grad_h if octaves is None else octaves.backward(grad_h)[0]
            return grad_x

        return out.view(self.width, self.n_out, -1), pull


class Parametrized(Perceptron):
    """A perceptron that holds its layers. `last_gain` as in `initial`."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        width: int,
        hidden: Sequence[int],
        *,
        octaves: int = 0,
        dropout: float = 0.0,
        last_gain: float = 0.0,
    ) -> None:
        super().__init__(n_in, n_out, width, hidden, octaves=octaves, dropout=dropout)
        self.held = nn.ParameterList(self.initial(last_gain=last_gain))

    def layers(self) -> list[Tensor]:
        """Weight `(out, in)` and bias `(out, 1)` of each layer in turn."""
        return [*self.held]

    def forward(self, x: Tensor, layers: Sequence[Tensor] | None = None) -> Tensor:
        """Points `(n, n_in)` to `(width, n_out, n)`."""
        return super().forward(x, self.layers() if layers is None else layers)


class Masked(Parametrized):
    """A masked MLP: the parameters of coordinate i depend on the coordinates before it in `order` alone.

    `order[i]` is the place of coordinate i. Masks are those of MADE (Germain et al. 2015, eqs. 8 to 10).
    """

    def __init__(
        self,
        order: Tensor,
        width: int,
        hidden: Sequence[int],
        *,
        octaves: int = 0,
        dropout: float = 0.0,
        last_gain: float = 0.0,
    ) -> None:
        d = len(order)
        super().__init__(d, d, width, hidden, octaves=octaves, dropout=dropout, last_gain=last_gain)
        places = order.repeat(1 + 2 * octaves)
        for number, size in enumerate(hidden):
            units = torch.arange(size) % max(1, d - 1)
            self.register_buffer(f"mask{number}", (units.unsqueeze(1) >= places).float())
            places = units
        self.register_buffer(f"mask{len(hidden)}", (order.repeat(width).unsqueeze(1) > places).float())

    def layers(self) -> list[Tensor]:
        """Masked weight `(out, in)` and bias `(out, 1)` of each layer in turn."""
        layers = super().layers()
        layers[::2] = [weight * getattr(self, f"mask{number}") for number, weight in enumerate(layers[::2])]
        return layers
