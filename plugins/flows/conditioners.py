"""Networks that give the parameters of a flow's layers, with features before points in memory.

They map points `(n, d)` to parameters `(width, d_out, n)`. With the points last, what runs over parameters or
coordinates is vectorised over points, however few coordinates there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trilemma.plugins.networks import initialise


class Conditioner(nn.Module):
    """A network of a flow, whose evaluations count as NFE."""


class Perceptron(Conditioner):
    """An MLP with SiLU activations from `n_in` coordinates to `width` parameters of each of `n_out` coordinates.

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
        initialise(self, last_gain)

    def weights(self) -> list[tuple[Tensor, Tensor]]:
        """Weight `(out, in)` and bias `(out,)` of each layer."""
        return [(layer.weight, layer.bias) for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """Points `(n, n_in)` to `(width, n_out, n)`."""
        h = x.T
        if self.octaves:
            phases = (self.frequencies.to(x).reshape(-1, 1, 1) * h).flatten(0, 1)
            h = torch.cat([h, phases.sin(), phases.cos()])
        *hidden, (weight, bias) = self.weights()
        for hidden_weight, hidden_bias in hidden:
            h = F.silu(torch.addmm(hidden_bias.unsqueeze(1), hidden_weight, h))
            if self.dropout:
                h = F.dropout(h, self.dropout, self.training)
        return torch.addmm(bias.unsqueeze(1), weight, h).reshape(self.width, self.n_out, -1)


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

    def weights(self) -> list[tuple[Tensor, Tensor]]:
        """Masked weight `(out, in)` and bias `(out,)` of each layer."""
        pairs = super().weights()
        return [(weight * getattr(self, f"mask{number}"), bias) for number, (weight, bias) in enumerate(pairs)]
