"""A small convolutional U-Net for images of 8 to 32 pixels a side, conditioned on noise levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from .dual import Dual, joined, silu, through
from .mlp import FourierFeatures, mlp

UNET_RECIPE = trilemma.Recipe(
    lr=4e-3, batch_size=64, betas=(0.9, 0.99), weight_decay=0.01, warmup=100, schedule="cosine", ema=0.998
)
"""The training recipe of U-Nets on small images."""

LABEL_OCTAVES = 3
LABEL_WIDTH = 64
DENSE_WIDTH = 128
DENSE_UP_TO = 2048  # largest number of features at the coarsest level for which it has a dense block


class ResidualBlock(nn.Module):
    """x + conv(dropout(silu(scale norm(conv(silu(norm x))) + shift))), with scale and shift from the noise label."""

    def __init__(self, channels_in: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(1, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.label = nn.Linear(LABEL_WIDTH, 2 * channels)
        self.norm_out = nn.GroupNorm(1, channels)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.label.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.conv_in(nn.functional.silu(self.norm_in(x)))
        scale, shift = self.label(label).unflatten(1, (-1, 1, 1)).chunk(2, dim=1)
        h = nn.functional.silu(self.norm_out(h) * (1 + scale) + shift)
        value: Tensor = self.skip(x) + self.conv_out(self.dropout(h))
        return value

    def along(self, x: Dual, label: Dual) -> Dual:
        """What the block gives, with its derivative."""
        h = through(self.conv_in, silu(through(self.norm_in, x)))
        change = through(self.label, label).each(lambda y: y.reshape(len(y), -1, 1, 1))
        scale, shift = (change.each(lambda y, k=k: y.chunk(2, dim=1)[k]) for k in range(2))  # type: ignore[misc]
        normed = through(self.norm_out, h)
        h = silu(normed + normed * scale + shift)
        return through(self.skip, x) + through(self.conv_out, through(self.dropout, h))


class DenseBlock(nn.Module):
    """Adds to x a two-layer perceptron over all pixels and channels.

    At the coarsest level, where it is used, it is cheaper than attention.
    """

    def __init__(self, shape: tuple[int, int, int], dropout: float) -> None:
        super().__init__()
        features = torch.Size(shape).numel()
        self.norm = nn.GroupNorm(1, shape[0])
        self.body = mlp((features, DENSE_WIDTH, features), dropout)
        self.label = nn.Linear(LABEL_WIDTH, features)
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(self.label.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.norm(x).flatten(1) + self.label(label)
        value: Tensor = x + self.body(h).reshape(x.shape)
        return value

    def along(self, x: Dual, label: Dual) -> Dual:
        """What the block gives, with its derivative."""
        h = through(self.norm, x).each(lambda y: y.flatten(1)) + through(self.label, label)
        return x + through(self.body, h).each(lambda y: y.reshape(x.value.shape))


class UNet(nn.Module):
    """The raw network F(x, c) of a denoiser on images: a U-Net (Ronneberger et al. 2015).

    Maps images `(n, channels, height, width)` and noise labels, `(n,)` or `(n, labels)`, to images `(n, outputs,
    height, width)`. There is one level for each entry of `widths`, with `blocks` residual blocks, and the side is
    halved from level to level. Each position has a learned bias. The coarsest level has a dense block if it has at most
    `DENSE_UP_TO` features, else a residual block. The last layer starts at zero. Raises UnsupportedError for sides that
    cannot be halved so often.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        widths: Sequence[int] = (24, 48),
        blocks: int = 2,
        dropout: float = 0.0,
        labels: int = 1,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        scale = 2 ** (len(widths) - 1)
        if height % scale or width % scale:
            raise trilemma.UnsupportedError(
                f"images of {height} x {width} pixels cannot be halved {len(widths) - 1} times: give fewer `widths`"
            )
        features = FourierFeatures(LABEL_OCTAVES)
        self.label = nn.Sequential(features, mlp((features.width(labels), LABEL_WIDTH, LABEL_WIDTH)), nn.SiLU())
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.position = nn.Parameter(torch.zeros(widths[0], height, width))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            self.down.append(nn.ModuleList(ResidualBlock(c, c, dropout) for _ in range(blocks)))
            if level + 1 < len(widths):
                wider = widths[level + 1]
                self.shrink.append(nn.Conv2d(c, wider, 2, stride=2))
                self.grow.append(nn.ConvTranspose2d(wider, c, 2, stride=2))
                joined = [ResidualBlock(2 * c if k == 0 else c, c, dropout) for k in range(blocks)]
                self.up.append(nn.ModuleList(joined))
        coarsest = (widths[-1], height // scale, width // scale)
        dense = torch.Size(coarsest).numel() <= DENSE_UP_TO
        self.middle: nn.Module = (
            DenseBlock(coarsest, dropout) if dense else ResidualBlock(coarsest[0], coarsest[0], dropout)
        )
        self.norm = nn.GroupNorm(1, widths[0])
        self.last = nn.Conv2d(widths[0], outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.stem(x.contiguous(memory_format=torch.channels_last)) + self.position
        c = self.label(label.reshape(len(label), -1))
        passed: list[Tensor] = []
        for level, stage in enumerate(self.down):
            for block in stage:  # type: ignore[attr-defined]
                h = block(h, c)
            if level < len(self.shrink):
                passed.append(h)
                h = self.shrink[level](h)
        h = self.middle(h, c)
        for level in reversed(range(len(self.grow))):
            h = torch.cat([self.grow[level](h), passed[level]], dim=1)
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, c)
        value: Tensor = self.last(nn.functional.silu(self.norm(h)))
        return value

    def along(self, x: Dual, label: Dual) -> Dual:
        """What the network gives at images and labels `(n, labels)`, with its derivative in the direction of both."""
        h = through(self.stem, x.each(lambda y: y.contiguous(memory_format=torch.channels_last)))
        h, c = Dual(h.value + self.position, h.rate), through(self.label, label)
        passed: list[Dual] = []
        for level, stage in enumerate(self.down):
            for block in stage:  # type: ignore[attr-defined]
                h = block.along(h, c)
            if level < len(self.shrink):
                passed.append(h)
                h = through(self.shrink[level], h)
        h = self.middle.along(h, c)  # type: ignore[operator]
        for level in reversed(range(len(self.grow))):
            h = joined(through(self.grow[level], h), passed[level])
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block.along(h, c)
        return through(self.last, silu(through(self.norm, h)))


class UNetConfig(trilemma.Config):
    """The size of a U-Net."""

    widths: tuple[int, ...] = Field((24, 48), description="channels of each level of the U-Net")
    blocks: int = Field(2, ge=1, description="residual blocks at each level of the U-Net")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate in the network")

    def network(self, info: trilemma.DataInfo, outputs: int | None = None, *, labels: int = 1) -> UNet:
        """A U-Net for images of this shape. It has `outputs` output channels, by default as many as the images."""
        channels, height, width = info.shape
        return UNet(
            (channels, height, width),
            outputs or channels,
            widths=self.widths,
            blocks=self.blocks,
            dropout=self.dropout,
            labels=labels,
        )
