"""Multilayer perceptrons that several families share, and their initialization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

PLENTY = 100
"""Training points are scarce below this number per coordinate: a network then overfits within a short budget."""

MLP_RECIPE = trilemma.Recipe(lr=1e-2, batch_size=512, schedule="cosine", ema=0.998)
"""The training recipe of noise-conditioned MLPs on vectors."""

SILU_GAIN = 1.68
"""Standard deviation of weights times sqrt(fan-in) that preserves the second moment after a SiLU:
1 / sqrt(E[silu(z)^2]).
"""


def scarce(info: trilemma.DataInfo) -> bool:
    """Whether there are fewer than `PLENTY` training points per coordinate."""
    return info.n_train < PLENTY * info.dim


def dropout_for(info: trilemma.DataInfo, chosen: float | None, where_scarce: float = 0.4) -> float:
    """The dropout rate `chosen`. If it is None: `where_scarce` if training points are scarce, else 0."""
    if chosen is not None:
        return chosen
    return where_scarce if scarce(info) else 0.0


def initialize(network: nn.Module, last_gain: float = SILU_GAIN, gain: float = SILU_GAIN) -> None:
    """Draw the weights of linear layers from N(0, gain^2 / fan_in) and set the biases to 0.

    The last linear layer uses `last_gain` instead of `gain`.
    """
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer in linear:
        std = (last_gain if layer is linear[-1] else gain) / math.sqrt(layer.in_features)
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)


class FourierFeatures(nn.Module):
    """Appends the sines and cosines of the coordinates at the angular frequencies 1, 2, 4, ..., 2^(octaves - 1).

    Maps `(n, d)` to `(n, width(d))`. Source: Tancik et al. 2020, with the fixed octaves of Mildenhall et al. 2020.
    """

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.octaves = octaves
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)

    def width(self, d: int) -> int:
        """Number of features of `d` coordinates."""
        return d * (1 + 2 * self.octaves)

    def forward(self, x: Tensor) -> Tensor:
        phases = (x.unsqueeze(-1) * self.frequencies.to(x)).flatten(1)
        return torch.cat([x, phases.sin(), phases.cos()], dim=1)


def mlp(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """A multilayer perceptron with SiLU activations, from `widths[0]` inputs to `widths[-1]` outputs."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(widths[-2], widths[-1]))
    return nn.Sequential(*layers)


class NoiseConditionedMLP(nn.Module):
    """The raw network F(x, c) of a denoiser on vectors: an MLP over Fourier features of the point and the noise label.

    Maps points `(n, d)` and noise labels `(n,)` to `(n, outputs)`; by default `outputs` is d.
    """

    LABEL_OCTAVES = 3

    def __init__(
        self, d: int, hidden: Sequence[int], *, octaves: int, dropout: float = 0.0, outputs: int | None = None
    ) -> None:
        super().__init__()
        self.features = FourierFeatures(octaves)
        self.label_features = FourierFeatures(self.LABEL_OCTAVES)
        self.body = mlp((self.features.width(d) + self.label_features.width(1), *hidden, outputs or d), dropout)
        initialize(self.body)

    @property
    def last(self) -> nn.Linear:
        """The last layer."""
        layer = self.body[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        value: Tensor = self.body(torch.cat([self.features(x), self.label_features(label.unsqueeze(1))], dim=1))
        return value


class MLPConfig(trilemma.Config):
    """The size of a noise-conditioned MLP."""

    hidden: tuple[int, ...] = Field(
        (128, 128, 128),
        description="widths of the hidden layers",
        json_schema_extra={"tune": "[64, 64]|[128, 128]|[128, 128, 128]|[256, 256, 256]"},
    )
    octaves: int = Field(3, ge=0, description="number of octaves in the Fourier features of a point")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate in the network")

    def network(self, info: trilemma.DataInfo, outputs: int | None = None) -> NoiseConditionedMLP:
        """A noise-conditioned MLP for points of this shape. It has `outputs` outputs, by default as many as inputs."""
        return NoiseConditionedMLP(info.dim, self.hidden, octaves=self.octaves, dropout=self.dropout, outputs=outputs)
