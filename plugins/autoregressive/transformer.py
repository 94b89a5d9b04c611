"""A causal transformer that gives the parameters of the maps of an autoregressive flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..flows.conditioners import Conditioner


class TransformerLayer(nn.Module):
    """Causal self-attention and a perceptron, each after a layer normalization and added to its input."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.joined = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Map `(n, tokens, channels)` to the same shape; a token sees itself and those before it."""
        q, k, v = self.qkv(self.norm_attention(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        h = h + self.dropout(self.joined(seen))
        value: Tensor = h + self.dropout(self.perceptron(self.norm_perceptron(h)))
        return value


class CausalTransformer(Conditioner):
    """Parameters of each token from the tokens before it, and of the first from a learned start.

    Maps tokens `(n, t, width_in)`, all or the first t, to parameters `(n, t, width_out)`, which are 0 at the start.
    """

    def __init__(
        self,
        tokens: int,
        width_in: int,
        width_out: int,
        *,
        channels: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(width_in, channels)
        self.start = nn.Parameter(torch.zeros(1, channels))
        self.position = nn.Parameter(torch.randn(tokens, channels) * 1e-2)
        self.layers = nn.Sequential(*(TransformerLayer(channels, heads, dropout) for _ in range(layers)))
        self.norm, self.last = nn.LayerNorm(channels), nn.Linear(channels, width_out)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        before = torch.cat([self.start.expand(len(x), 1, -1), self.first(x[:, :-1])], dim=1)
        value: Tensor = self.last(self.norm(self.layers(before + self.position[: x.shape[1]])))
        return value
