"""Networks that give the parameters of a flow's layers, with features before points in memory.

They map points `(n, d)` to parameters `(width, d_out, n)`. With the points last, what runs over parameters or
coordinates is vectorised over points, however few coordinates there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trilemma.plugins.flows.transforms import Record, Written, mark_kept
from trilemma.plugins.networks import initialise

RELU_GAIN = 2**0.5
"""Standard deviation times sqrt(fan-in) that keeps the second moment through a ReLU (He et al. 2015, eq. 10)."""


Pull = Callable[[Tensor], tuple[Tensor, list[Tensor]]]
"""From the gradient of a network's output to those of its input and of its weights."""


class Conditioner(nn.Module):
    """A network of a flow, whose evaluations count as NFE."""


class Layers(Written):
    """Linear layers with ReLU and dropout between them: `(h, dropout, weight, bias, ...)`, h `(n_in, n)`, to
    `(n_out, n)`.
    """

    @staticmethod
    def forward(h: Tensor, dropout: float, *layers: Tensor) -> tuple[Tensor, ...]:
        activations = []
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            h = torch.addmm(bias.unsqueeze(1), weight, h).relu_()
            if dropout:
                h = F.dropout(h, dropout)
            activations.append(h)
        return torch.addmm(layers[-1].unsqueeze(1), layers[-2], h), *activations

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
        grad, found = grads[0], []
        for number in reversed(range(ctx.count)):
            found += [grad.sum(1), torch.mm(grad, inputs[number].t())]
            grad = torch.mm(weights[number].t(), grad)
            if number > 0:  # a unit that is off, by ReLU or by dropout, is 0 and passes nothing on
                grad = torch.ops.aten.threshold_backward(grad, inputs[number], 0)
                if ctx.dropout:
                    grad = grad / (1 - ctx.dropout)
        return grad, None, *reversed(found)


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
    """An MLP with ReLU activations from `n_in` coordinates to `width` parameters of each of `n_out` coordinates.

    It sees each coordinate with its sines and cosines at the frequencies 1, 2, 4, ..., `octaves` of them
    (Tancik et al. 2020). `last_gain` scales the last layer's weights: 0 starts at parameters 0, the identity.
    """

    frequencies: Tensor

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
        super().__init__()
        self.width, self.n_out, self.dropout = width, n_out, dropout
        self.octaves = octaves
        widths = (n_in * (1 + 2 * octaves), *hidden, width * n_out)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)
        initialise(self, last_gain, RELU_GAIN)

    @property
    def offset(self) -> Tensor:
        """Bias of the last layer, `(width n_out,)`: the parameters themselves as long as its weights are 0."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last.bias

    def weights(self) -> list[Tensor]:
        """Weight `(out, in)` and bias `(out,)` of each layer in turn."""
        return [tensor for layer in self.layers for tensor in layer._parameters.values() if tensor is not None]

    def forward(self, x: Tensor) -> Tensor:
        """Points `(n, n_in)` to `(width, n_out, n)`."""
        h = x.T
        if self.octaves:
            h = Octaves.apply(h, self.frequencies.to(x))[0]
        out: Tensor = Layers.apply(h, self.dropout if self.training else 0.0, *self.weights())[0]
        return out.reshape(self.width, self.n_out, -1)

    def record(self, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Pull]:
        """`forward` of points `(n_in, n)`, and the function that takes the gradient of its result to those of `x` and
        of the weights.
        """
        octaves = Record(Octaves, x, self.frequencies.to(x)) if self.octaves else None
        layers = Record(
            Layers, x if octaves is None else octaves.outputs[0], self.dropout if self.training else 0.0, *weights
        )
        out = layers.outputs[0]

        def pull(grad: Tensor) -> tuple[Tensor, list[Tensor]]:
            grad_h, _, *grads = layers.backward(grad.view(out.shape))
            return grad_h if octaves is None else octaves.backward(grad_h)[0], grads

        return out.view(self.width, self.n_out, -1), pull


class Masked(Perceptron):
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

    def weights(self) -> list[Tensor]:
        """Masked weight `(out, in)` and bias `(out,)` of each layer in turn."""
        weights = super().weights()
        weights[::2] = [weight * getattr(self, f"mask{number}") for number, weight in enumerate(weights[::2])]
        return weights
