"""Networks that give the parameters of the layers of a flow.

They map points `(n, d)` to parameters `(width, d_out, n)`. The points are the last dimension, so that operations on
parameters or coordinates are vectorized over points, also when there are few coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RELU_GAIN = 2**0.5
"""Standard deviation of weights times sqrt(fan-in) that preserves the second moment after a ReLU (He et al. 2015,
eq. 10).
"""


class Conditioner(nn.Module):
    """A network of a flow. Its evaluations count as NFE."""


class Perceptron(Conditioner):
    """An MLP with ReLU activations from `n_in` coordinates to `width` parameters of each of `n_out` coordinates.

    Its inputs are the coordinates with their sines and cosines at the frequencies 1, 2, 4, ..., 2^(octaves - 1)
    (Tancik et al. 2020). The weights and biases of the layers are given at each call. With `hold`, the network has its
    own, with the values of `initial` at the start.
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
        hold: bool = True,
        last_gain: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.n_out, self.dropout = width, n_out, dropout
        self.octaves = octaves
        self.sizes = [*pairwise((n_in * (1 + 2 * octaves), *hidden, width * n_out))]
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)
        self.held = nn.ParameterList(self.initial(last_gain=last_gain) if hold else [])

    def initial(self, *count: int, last_gain: float = 0.0) -> list[Tensor]:
        """Initial weight `(*count, out, in)` and bias `(*count, out, 1)` of each layer in turn.

        `last_gain` scales the weights of the last layer. With 0 all parameters start at 0, which is the identity.
        """
        gains = [RELU_GAIN] * (len(self.sizes) - 1) + [last_gain]
        layers = []
        for gain, (a, b) in zip(gains, self.sizes, strict=True):
            layers += [gain / a**0.5 * torch.randn(*count, b, a), torch.zeros(*count, b, 1)]
        return layers

    def layers(self) -> list[Tensor]:
        """Weight `(out, in)` and bias `(out, 1)` of each layer that the network holds, in turn."""
        return [*self.held]

    def forward(self, x: Tensor, layers: Sequence[Tensor] | None = None) -> Tensor:
        """Map points `(n, n_in)` to parameters `(width, n_out, n)`.

        `layers` holds the weight and the bias of each layer in turn. By default they are those of `layers()`.
        """
        out = self.through(self.features(x.T), self.layers() if layers is None else layers)
        return out.reshape(self.width, self.n_out, -1)

    def features(self, x: Tensor) -> Tensor:
        """The inputs of the first layer, `(n_in (1 + 2 octaves), n)`, from points `(n_in, n)`."""
        if not self.octaves:
            return x
        phases = (self.frequencies.to(x).reshape(-1, 1, 1) * x).flatten(0, 1)
        return torch.cat([x, phases.sin(), phases.cos()])

    def through(self, h: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """Map features `(n_features, n)` to the outputs of the last layer, `(width n_out, n)`."""
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            h = F.dropout(torch.relu(weight @ h + bias), self.active_dropout())
        return layers[-2] @ h + layers[-1]

    def active_dropout(self) -> float:
        """The dropout rate in training, else 0."""
        return self.dropout if self.training else 0.0


class Masked(Perceptron):
    """A masked MLP: the parameters of coordinate i depend only on the coordinates before it in `order`.

    `order[i]` is the place of coordinate i. The masks are those of MADE (Germain et al. 2015, eqs. 8 to 10).
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
        layers[::2] = [weight * self.get_buffer(f"mask{number}") for number, weight in enumerate(layers[::2])]
        return layers
