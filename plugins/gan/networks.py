"""The two players of a denoising diffusion GAN, and their networks on vectors.

Rows of points fall into equal blocks, one for each noise level of a slice `at` of the ladder: in training all levels go
through the networks together, in sampling one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.points import per_point

LONGEST = 0.7
"""Lowest angular frequency of Fourier features: waves about as long as standardized data is wide."""
SLOWEST = 4.0
"""Highest that the generator's lowest frequency gets in units of its noisy input, where noise hides the data."""


def log_spaced(low: Tensor, high: Tensor, count: int) -> Tensor:
    """`count` numbers in a constant ratio from `low` to `high`, both of shape `(levels,)`: `(levels, count)`."""
    ramp = torch.linspace(0, 1, count, dtype=low.dtype)
    return low.unsqueeze(1) * (high / low).unsqueeze(1) ** ramp


def waves(x: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines and sines of each coordinate: `(levels, n, d)` and `(levels, k)` to `(levels, n, 2 k d)`."""
    phases = (x.unsqueeze(-1) * frequencies[:, None, None]).flatten(2)
    return torch.cat([phases.cos(), phases.sin()], dim=2)


def per_block(values: Tensor, x: Tensor) -> Tensor:
    """One value for each block of rows, `(blocks,)`, to broadcast against the rows of `x`."""
    return per_point(values.repeat_interleave(len(x) // len(values)), x)


def in_blocks(x: Tensor, blocks: int) -> Tensor:
    """Rows `(blocks * n, d)` to `(blocks, n, d)`."""
    return x.reshape(blocks, -1, x.shape[1])


class LevelwiseMLP(nn.Module):
    """A multilayer perceptron for each of several noise levels, all evaluated at once.

    Activations are SiLU, or leaky ReLU of a given slope. Weights are drawn from N(0, 1.4^2 / fan_in), those of the
    last layer from N(0, .5^2 / fan_in), hidden biases from N(0, .2^2).
    """

    def __init__(self, levels: int, widths: Sequence[int], slope: float | None = None) -> None:
        super().__init__()
        self.slope = slope
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for number, (n_in, n_out) in enumerate(pairwise(widths)):
            weight_gain, bias_gain = (0.5, 0.0) if number == len(widths) - 2 else (1.4, 0.2)
            self.weights.append(torch.randn(levels, n_in, n_out) * (weight_gain / math.sqrt(n_in)))
            self.biases.append(torch.randn(levels, 1, n_out) * bias_gain)

    def forward(self, x: Tensor, at: slice) -> Tensor:
        """`(levels of at, n, widths[0])` to `(levels of at, n, widths[-1])`."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                x = F.silu(x) if self.slope is None else F.leaky_relu(x, self.slope)
            # A slice of everything would cost a copy of the gradients.
            whole = len(x) == len(weight)
            x = torch.baddbmm(bias if whole else bias[at], x, weight if whole else weight[at])
        return x


class VectorGenerator(nn.Module):
    """The raw network F(u, z) on vectors: u = x / sqrt(1 + s^2), its waves of length pi s and more, and z."""

    frequencies: Tensor

    def __init__(self, d: int, latent: int, sigmas: Tensor, hidden: Sequence[int], features: int) -> None:
        super().__init__()
        stretch = (1 + sigmas**2).sqrt()
        table = log_spaced((LONGEST * stretch).clamp(max=SLOWEST), 2 * stretch / sigmas, features)
        self.register_buffer("frequencies", table.float(), persistent=False)
        self.body = LevelwiseMLP(len(sigmas), (d * (1 + 2 * features) + latent, *hidden, d))

    def forward(self, u: Tensor, z: Tensor, at: slice) -> Tensor:
        f = self.frequencies[at]
        blocks = in_blocks(u, len(f))
        value: Tensor = self.body(torch.cat([blocks, in_blocks(z, len(f)), waves(blocks, f)], dim=2), at)
        return value.flatten(0, 1)


class Generator(nn.Module):
    """x_0 drawn given x at noise level s: x / (1 + s^2) + s / sqrt(1 + s^2) F(x / sqrt(1 + s^2), z).

    The preconditioning of Karras et al. 2022 (table 1) for data of unit variance, around a raw network that is also
    given a latent.
    """

    sigmas: Tensor

    def __init__(self, network: nn.Module, sigmas: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("sigmas", sigmas, persistent=False)

    def forward(self, x: Tensor, z: Tensor, at: slice) -> Tensor:
        s = per_block(self.sigmas[at], x)
        c_in = (1 + s**2).rsqrt()
        value: Tensor = c_in**2 * x + s * c_in * self.network(c_in * x, z, at)
        return value


class VectorDiscriminator(nn.Module):
    """The raw discriminator on vectors: it sees the parts it is given, and waves of those that are points.

    `scales` (parts that are points, levels) are what these parts were divided by. Waves are as short as 2 pi times the
    finest detail that a level has, `finest`.
    """

    frequencies: Tensor

    def __init__(
        self, parts: int, d: int, scales: Tensor, finest: Tensor, hidden: Sequence[int], features: int
    ) -> None:
        super().__init__()
        table = log_spaced(torch.full_like(finest, LONGEST), 1 / finest, features)
        self.register_buffer("frequencies", (scales.unsqueeze(2) * table).float(), persistent=False)
        width = d * (parts + 2 * features * len(scales))
        self.body = LevelwiseMLP(len(finest), (width, *hidden, 1), slope=0.2)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        blocks = [in_blocks(part, self.frequencies.shape[1]) for part in parts]
        seen = [*blocks, *(waves(block, f) for block, f in zip(blocks, self.frequencies, strict=False))]
        value: Tensor = self.body(torch.cat(seen, dim=2), slice(None)).flatten()
        return value


class Discriminator(nn.Module):
    """The logit that x, at the noise level `low` of its block, is data's and not the generator's.

    A conditional one is also given the point at the noise level `high` that x was drawn from, and judges the step
    between the two. The raw network gets all of it at unit variance.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: nn.Module, low: Tensor, high: Tensor, conditional: bool) -> None:
        super().__init__()
        self.network = network
        self.conditional = conditional
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    def forward(self, x: Tensor, x_next: Tensor) -> Tensor:
        low, high = per_block(self.low, x), per_block(self.high, x)
        parts = [x * (1 + low**2).rsqrt()]
        if self.conditional:
            parts += [x_next * (1 + high**2).rsqrt(), (x_next - x) * (high**2 - low**2).rsqrt()]
        value: Tensor = self.network(parts)
        return value
