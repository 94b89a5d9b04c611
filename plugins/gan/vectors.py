"""The networks of adversarial players on vectors.

Rows of points fall into equal blocks, each of which has networks of its own: noise levels that are trained together, or
one block of all. A slice `at` of the blocks leaves out the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .game import GameConfig

LONGEST = 0.7
"""Lowest angular frequency of Fourier features: waves about as long as standardized data is wide."""


class VectorConfig(GameConfig):
    """The game, and two players that are MLPs."""

    hidden: tuple[int, ...] = Field((128, 128, 128), description="widths of the hidden layers")
    features: int = Field(
        4, ge=1, description="frequencies of Fourier features in the generator; the discriminator has one more"
    )


def log_spaced(low: Tensor, high: Tensor, count: int) -> Tensor:
    """`count` numbers in a constant ratio from `low` to `high`, both of shape `(blocks,)`: `(blocks, count)`."""
    ramp = torch.linspace(0, 1, count, dtype=low.dtype)
    return low.unsqueeze(1) * (high / low).unsqueeze(1) ** ramp


def data_frequencies(detail: Tensor, count: int) -> Tensor:
    """Angular frequencies of waves from the width of the data down to 2 pi times its finest detail, `(blocks,)`."""
    return log_spaced(torch.full_like(detail, LONGEST), 1 / detail, count)


def waves(x: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines and sines of each coordinate: `(blocks, n, d)` and `(blocks, k)` to `(blocks, n, 2 k d)`."""
    phases = (x.unsqueeze(-1) * frequencies[:, None, None]).flatten(2)
    return torch.cat([phases.cos(), phases.sin()], dim=2)


def in_blocks(x: Tensor, blocks: int) -> Tensor:
    """Rows `(blocks * n, d)` to `(blocks, n, d)`."""
    return x.reshape(blocks, -1, x.shape[1])


class BlockwiseMLP(nn.Module):
    """A multilayer perceptron for each of several blocks of rows, all evaluated at once.

    Activations are SiLU, or leaky ReLU of a given slope. Weights are drawn from N(0, 1.4^2 / fan_in), those of the
    last layer from N(0, .5^2 / fan_in), hidden biases from N(0, .2^2).
    """

    def __init__(self, blocks: int, widths: Sequence[int], slope: float | None = None) -> None:
        super().__init__()
        self.slope = slope
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for number, (n_in, n_out) in enumerate(pairwise(widths)):
            weight_gain, bias_gain = (0.5, 0.0) if number == len(widths) - 2 else (1.4, 0.2)
            self.weights.append(torch.randn(blocks, n_in, n_out) * (weight_gain / math.sqrt(n_in)))
            self.biases.append(torch.randn(blocks, 1, n_out) * bias_gain)

    def forward(self, x: Tensor, at: slice) -> Tensor:
        """`(blocks of at, n, widths[0])` to `(blocks of at, n, widths[-1])`."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                x = F.silu(x) if self.slope is None else F.leaky_relu(x, self.slope)
            # A slice of everything would cost a copy of the gradients.
            whole = len(x) == len(weight)
            x = torch.baddbmm(bias if whole else bias[at], x, weight if whole else weight[at])
        return x


class VectorGenerator(nn.Module):
    """F(u, z) on vectors of about unit variance: u, its waves of `frequencies` `(blocks, features)`, and the latent."""

    frequencies: Tensor

    def __init__(self, d: int, latent: int, frequencies: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        blocks, features = frequencies.shape
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.body = BlockwiseMLP(blocks, (d * (1 + 2 * features) + latent, *hidden, d))

    def forward(self, u: Tensor, z: Tensor, at: slice = slice(None)) -> Tensor:
        f = self.frequencies[at]
        blocks = in_blocks(u, len(f))
        value: Tensor = self.body(torch.cat([blocks, in_blocks(z, len(f)), waves(blocks, f)], dim=2), at)
        return value.flatten(0, 1)


class VectorDiscriminator(nn.Module):
    """A logit for each row of the parts that it is given, with waves of the first of them.

    Parts have about unit variance. `frequencies` `(waved parts, blocks, features)` are those of as many of the parts.
    """

    frequencies: Tensor

    def __init__(self, parts: int, d: int, frequencies: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        waved, blocks, features = frequencies.shape
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.body = BlockwiseMLP(blocks, (d * (parts + 2 * features * waved), *hidden, 1), slope=0.2)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        blocks = [in_blocks(part, self.frequencies.shape[1]) for part in parts]
        seen = [*blocks, *(waves(block, f) for block, f in zip(blocks, self.frequencies, strict=False))]
        value: Tensor = self.body(torch.cat(seen, dim=2), slice(None)).flatten()
        return value
