"""A causal convolutional network on images in raster order, with two kinds of channels (van den Oord et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.mlp import SILU_GAIN

THRESHOLDS = 32
"""The largest number of thresholds with which levels are compared at the input."""


class Memory:
    """What the layers saw of the row above, for an image that is computed row by row.

    A row may be computed several times, with one more pixel known each time. `next_row` moves on.
    """

    def __init__(self) -> None:
        self._above: dict[nn.Module, Tensor] = {}
        self._here: dict[nn.Module, Tensor] = {}

    def exchange(self, layer: nn.Module, row: Tensor) -> Tensor | None:
        """What `layer` saw of the row above, None for the first row. `row` is what it sees of this one."""
        self._here[layer] = row
        return self._above.get(layer)

    def next_row(self) -> None:
        """Go on to the next row."""
        self._above, self._here = self._here, {}


class CausalConvolution(nn.Module):
    """A convolution of 2 x 3 taps in which no channel sees its own pixel or a later one in raster order.

    Its taps are the row above and the row itself, each at the column to the left, at the place and to the right. The
    first half of the channels is vertical and depends on whole rows above; the second half is horizontal and depends
    on these rows and on the pixels to the left. So vertical channels see horizontal ones of the row above only, and
    horizontal channels see all but the horizontal ones to the right. The taps lose no pixel before a place, unlike one
    masked stack with its blind spot (van den Oord et al. 2016, section 2.2).
    """

    mask: Tensor

    def __init__(self, channels_in: int, channels: int, gain: float) -> None:
        super().__init__()
        mask = torch.ones(channels, channels_in, 2, 3)
        mask[: channels // 2, channels_in // 2 :, 1] = 0
        mask[channels // 2 :, channels_in // 2 :, 1, 2] = 0
        self.register_buffer("mask", mask, persistent=False)
        fan_in = mask.sum((1, 2, 3), keepdim=True)
        self.weight = nn.Parameter(torch.randn_like(mask) * gain / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """Map features `(n, channels_in, h, w)` to `(n, channels, h, w)`; with a memory, of one row."""
        above = None if memory is None else memory.exchange(self, x)
        seen = F.pad(x, (1, 1, 1, 0)) if above is None else F.pad(torch.cat([above, x], dim=2), (1, 1))
        return F.conv2d(seen, self.weight * self.mask, self.bias)


class CausalBlock(nn.Module):
    """x + conv(dropout(silu(scale conv(silu x) + shift))), with scale and shift from the label."""

    def __init__(self, channels: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.inner = CausalConvolution(channels, channels, SILU_GAIN)
        self.outer = CausalConvolution(channels, channels, 0.0)
        self.label = nn.Linear(labels, 2 * channels)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.label.weight)
        nn.init.zeros_(self.label.bias)

    def forward(self, x: Tensor, label: Tensor, memory: Memory | None = None) -> Tensor:
        scale, shift = self.label(label).unflatten(1, (-1, 1, 1)).chunk(2, dim=1)
        h = F.silu(self.inner(F.silu(x), memory) * (1 + scale) + shift)
        value: Tensor = x + self.outer(self.dropout(h), memory)
        return value


class CausalNetwork(nn.Module):
    """Logits of the level of each pixel, given the pixels before it in raster order.

    Maps levels `(n, h, w)`, whole numbers, and labels `(n, labels)` to logits `(n, levels, h, w)`. Levels enter as a
    number in [-1, 1] and by comparison with up to `THRESHOLDS` thresholds. Each place has a bias. With `row` and a
    memory of the rows above it, only that row is computed, `(n, levels, 1, w)`.
    """

    thresholds: Tensor

    def __init__(
        self, size: tuple[int, int], levels: int, labels: int, *, channels: int, blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.levels = levels
        count = min(levels - 1, THRESHOLDS)
        self.register_buffer("thresholds", torch.linspace(0.5, levels - 1.5, count).reshape(-1, 1, 1), persistent=False)
        self.first = CausalConvolution(2 * (count + 1), channels, 1.0)
        self.place = nn.Parameter(torch.zeros(channels, *size))
        self.blocks = nn.ModuleList(CausalBlock(channels, labels, dropout) for _ in range(blocks))
        self.last = nn.Conv2d(channels, levels, 1)
        self.bias = nn.Parameter(torch.zeros(levels, *size))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, levels: Tensor, label: Tensor, row: int | None = None, memory: Memory | None = None) -> Tensor:
        rows = slice(None) if row is None else slice(row, row + 1)
        # A row of zeros above the image and a column of them to its left stand for what is before the first pixel.
        features = F.pad(self.features(levels), (1, 0, 1, 0))
        above, left = features[:, :, :-1, 1:], features[:, :, 1:, :-1]
        seen = torch.cat([above, left], dim=1)[:, :, rows].contiguous(memory_format=torch.channels_last)
        h = self.first(seen, memory) + self.place[:, rows]
        for block in self.blocks:
            h = block(h, label, memory)
        logits: Tensor = self.last(F.silu(h)) + self.bias[:, rows]
        return logits

    def features(self, levels: Tensor) -> Tensor:
        """The inputs of the first layer, `(n, 1 + thresholds, h, w)`."""
        value = levels.unsqueeze(1).to(self.bias)
        return torch.cat([2 * value / (self.levels - 1) - 1, (value > self.thresholds).to(value)], dim=1)
