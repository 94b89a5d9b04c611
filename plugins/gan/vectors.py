"""The networks of adversarial players on vectors.

Rows of points fall into equal blocks, one for each noise level (a plain GAN has one block). Each block has its own
networks, and all blocks are trained together. A slice `at` selects some of the blocks.
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
"""Lowest angular frequency of Fourier features: a wave is about as long as standardized data is wide."""


class VectorConfig(GameConfig):
    """Options of the game, and of two players that are MLPs."""

    hidden: tuple[int, ...] = Field((128, 128, 128), description="widths of the hidden layers")
    features: int = Field(
        4, ge=1, description="frequencies of Fourier features in the generator; the discriminator has one more"
    )


def log_spaced(low: Tensor, high: Tensor, count: int) -> Tensor:
    """`count` numbers in geometric progression from `low` to `high`, both `(blocks,)`: shape `(blocks, count)`."""
    ramp = torch.linspace(0, 1, count, dtype=low.dtype)
    return low.unsqueeze(1) * (high / low).unsqueeze(1) ** ramp


def data_frequencies(detail: Tensor, count: int) -> Tensor:
    """Angular frequencies `(blocks, count)` from waves of the width of the data to waves of length 2 pi `detail`."""
    return log_spaced(torch.full_like(detail, LONGEST), 1 / detail, count)


def waves(x: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines and sines of coordinates `(blocks, n, d)` at frequencies `(blocks, k)`: shape `(blocks, n, 2 k d)`."""
    phases = (x.unsqueeze(-1) * frequencies[:, None, None]).flatten(2)
    return torch.cat([phases.cos(), phases.sin()], dim=2)


def in_blocks(x: Tensor, blocks: int) -> Tensor:
    """Reshape rows `(blocks * n, d)` to `(blocks, n, d)`."""
    return x.reshape(blocks, len(x) // blocks, x.shape[1])


class BlockwiseMLP(nn.Module):
    """One multilayer perceptron for each block of rows, all evaluated at once.

    Activations are SiLU, or leaky ReLU if `slope` is given. Weights are drawn from N(0, 1.4^2 / fan_in), in the last
    layer from N(0, .5^2 / fan_in), and hidden biases from N(0, .2^2).
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
        """Map `(blocks in at, n, widths[0])` to `(blocks in at, n, widths[-1])`."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                x = F.silu(x) if self.slope is None else F.leaky_relu(x, self.slope)
            # A slice of everything would cost a copy of the gradients.
            whole = len(x) == len(weight)
            x = torch.baddbmm(bias if whole else bias[at], x, weight if whole else weight[at])
        return x


class VectorGenerator(nn.Module):
    """F(u, z) on vectors of about unit variance: an MLP of u, of its Fourier features, and of the latent z.

    The Fourier features have the angular frequencies `frequencies` `(blocks, features)`.
    """

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
    """A discriminator of vectors, with one logit per row.

    Each of its inputs, the parts, is a batch `(n, d)` of about unit variance. The first parts also get Fourier features
    of the angular frequencies `frequencies` `(parts with features, blocks, features)`.
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
