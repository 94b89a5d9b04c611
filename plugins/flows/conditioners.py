"""Networks that give the parameters of a flow's layers, with features before points in memory.

They map points `(n, d)` to parameters `(width, d_out, n)`. With the points last, what runs over parameters or
coordinates is vectorized over points, however few coordinates there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RELU_GAIN = 2**0.5
"""Standard deviation times sqrt(fan-in) that keeps the second moment through a ReLU (He et al. 2015, eq. 10)."""


class Conditioner(nn.Module):
    """A network of a flow, whose evaluations count as NFE."""


class Perceptron(Conditioner):
    """An MLP with ReLU activations from `n_in` coordinates to `width` parameters of each of `n_out` coordinates.

    It sees each coordinate with its sines and cosines at the frequencies 1, 2, 4, ..., `octaves` of them
    (Tancik et al. 2020). Its layers are given at each call; with `hold`, it holds layers of its own, which start as
    `initial` says.
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
        """Weight `(*count, out, in)` and bias `(*count, out, 1)` of each layer in turn, to start from.

        `last_gain` scales the last layer's weights: 0 starts at parameters 0, the identity.
        """
        gains = [RELU_GAIN] * (len(self.sizes) - 1) + [last_gain]
        layers = []
        for gain, (a, b) in zip(gains, self.sizes, strict=True):
            layers += [gain / a**0.5 * torch.randn(*count, b, a), torch.zeros(*count, b, 1)]
        return layers

    def layers(self) -> list[Tensor]:
        """Weight `(out, in)` and bias `(out, 1)` of each layer that it holds."""
        return [*self.held]

    def forward(self, x: Tensor, layers: Sequence[Tensor] | None = None) -> Tensor:
        """Points `(n, n_in)` to `(width, n_out, n)`, by the weight and bias of each layer in turn."""
        out = self.through(self.features(x.T), self.layers() if layers is None else layers)
        return out.reshape(self.width, self.n_out, -1)

    def features(self, x: Tensor) -> Tensor:
        """What the first layer sees of points `(n_in, n)`: `(n_in (1 + 2 octaves), n)`."""
        if not self.octaves:
            return x
        phases = (self.frequencies.to(x).reshape(-1, 1, 1) * x).flatten(0, 1)
        return torch.cat([x, phases.sin(), phases.cos()])

    def through(self, h: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """Features `(n_features, n)` to the last layer's outputs `(width n_out, n)`."""
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            h = F.dropout(torch.relu(weight @ h + bias), self.active_dropout())
        return layers[-2] @ h + layers[-1]

    def active_dropout(self) -> float:
        """The dropout in training, else 0."""
        return self.dropout if self.training else 0.0


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

    def layers(self) -> list[Tensor]:
        """Masked weight `(out, in)` and bias `(out, 1)` of each layer in turn."""
        layers = super().layers()
        layers[::2] = [weight * self.get_buffer(f"mask{number}") for number, weight in enumerate(layers[::2])]
        return layers
