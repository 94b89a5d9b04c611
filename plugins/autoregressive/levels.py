"""Autoregressive models of the intensity levels of images, with the exact probability of an image."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import trilemma

from ..networks.levels import Levels
from .causal import CausalNetwork, Memory

SHIFTS = tuple((dy, dx) for dy in (0, -1, 1) for dx in (0, -1, 1))
"""The shifts of training images in pixels, by rows and by columns, first none."""

ROWS = 500
"""Number of images that the network evaluates at once without gradients."""


def orders(height: int, width: int) -> Tensor:
    """The raster orders of an image that start at each of its corners, row by row and, if it is square, by columns.

    Shape `(4 or 8, height * width)`: the entry `[g, k]` is the flat index of the pixel at place k of order g.
    """
    index = torch.arange(height * width).reshape(height, width)
    views = [index, index.T] if height == width else [index]
    flips: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))
    return torch.stack([view.flip(axes).flatten() for view in views for axes in flips])


def shifted(height: int, width: int, channels: int = 1) -> Tensor:
    """For each of `SHIFTS`, the flat index of what comes to each place, `(9, height * width * channels)`.

    Places are in the order rows, columns, channels. Whole pixels move, so that a channel keeps its place in the pixel.
    Pixels at the edge are repeated where the image moves away from it.
    """
    rows, columns = torch.arange(height).unsqueeze(1), torch.arange(width)
    pixels = [(rows + dy).clamp(0, height - 1) * width + (columns + dx).clamp(0, width - 1) for dy, dx in SHIFTS]
    return torch.stack([(channels * pixel.unsqueeze(2) + torch.arange(channels)).flatten() for pixel in pixels])


class AutoregressiveLevels(trilemma.NeuralModel):
    """PixelCNN (van den Oord et al. 2016): the level of each pixel given those before it, with exact probabilities.

    P(x) is the product over places k of P(x_k | x_1, ..., x_k-1), each a softmax over the intensity levels. By default
    it is the mean of the probabilities under all raster orders from the corners (`orders`), which one network learns;
    a mean of distributions is a distribution. The likelihood is that of the levels themselves (base `discrete`), and
    not a bound by dequantization: as a density, the model is uniform within each level. Each channel of a pixel is a
    place of its own.

    Deviations from the paper: residual blocks with SiLU in place of gates, one convolution of 2 x 3 taps with masks in
    place of separate vertical and horizontal stacks, and a bias for each place. The network is told the raster order,
    and whether and how a training image was shifted, so that augmentation does not change the distribution (Jun et al.
    2020).
    """

    name = "ar-levels"
    family = "autoregressive"
    likelihood = "exact"
    accepts = ("image",)
    recipe = trilemma.Recipe(
        lr=4e-3, batch_size=64, betas=(0.9, 0.99), weight_decay=0.01, warmup=100, schedule="cosine", ema=0.998
    )
    order: Tensor
    shifts: Tensor

    class Config(trilemma.Config):
        """Options of the network and of its training."""

        channels: int = Field(48, ge=2, multiple_of=2, description="channels of the network")
        blocks: int = Field(4, ge=1, description="residual blocks; each sees two rows and columns more")
        dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate in the network")
        orders: Literal["one", "all"] = Field(
            "all",
            description="raster orders of the pixels: one by rows from the first corner, as in the paper, or the mean "
            "of the probabilities under those from all corners, by rows and, in square images, by columns",
        )
        shift: float = Field(
            0.5, ge=0, le=1, description="share of training images that are moved by a pixel; the network is told"
        )

    def build(self, info: trilemma.DataInfo) -> None:
        self.bins = Levels.of(info)
        config, (channels, height, width) = self.config, info.shape
        self.shape = channels, height, width
        self.size = height, width * channels
        self.levels = self.bins.count
        found = orders(*self.size)
        self.register_buffer("order", found if config.orders == "all" else found[:1], persistent=False)
        self.register_buffer("shifts", shifted(height, width, channels), persistent=False)
        self.network = CausalNetwork(
            self.size,
            self.levels,
            len(self.order) + len(SHIFTS),
            channels=config.channels,
            blocks=config.blocks,
            dropout=config.dropout,
        )

    @torch.no_grad()
    def initialize(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        """Set the bias of the levels to the logarithm of their histogram, with one count added to each."""
        counts = torch.bincount(self.levels_of(train.x).flatten(), minlength=self.levels).double() + 1
        self.network.bias.add_((counts / counts.sum()).log().to(self.network.bias).reshape(-1, 1, 1))

    def levels_of(self, x: Tensor) -> Tensor:
        """The levels `(n, pixels)` of points `(n, channels, h, w)`, with the channels of a pixel side by side."""
        return self.bins.index(x).movedim(1, -1).flatten(1)

    def label(self, order: Tensor, shift: Tensor) -> Tensor:
        """What the network is told, `(n, labels)`: the number of the order and that of the shift of each image."""
        return torch.cat([F.one_hot(order, len(self.order)), F.one_hot(shift, len(SHIFTS))], dim=1).float()

    def log_probs(self, levels: Tensor, order: Tensor, shift: Tensor) -> Tensor:
        """log P of levels `(n, pixels)` under one order each, in nats, `(n,)`."""
        seen = levels.gather(1, self.order[order]).reshape(-1, *self.size)
        logits = self.network(seen, self.label(order, shift))
        return -F.cross_entropy(logits, seen, reduction="none").flatten(1).sum(1)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Mean of -log P over images and pixels, in nats, each image under one order and one shift."""
        levels, n, g = self.levels_of(x), len(x), ctx.generator
        order = torch.randint(len(self.order), (n,), generator=g, device=x.device)
        moved = torch.rand(n, generator=g, device=x.device) < self.config.shift
        shift = moved * torch.randint(1, len(SHIFTS), (n,), generator=g, device=x.device)
        levels = levels.gather(1, self.shifts[shift])
        return -self.log_probs(levels, order, shift).mean() / levels.shape[1]

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The same with no image shifted."""
        levels = self.levels_of(x)
        order = torch.randint(len(self.order), (len(x),), generator=ctx.generator, device=x.device)
        values = [
            self.log_probs(*part)
            for part in zip(*(torch.split(t, ROWS) for t in (levels, order, 0 * order)), strict=True)
        ]
        return -torch.cat(values).mean() / levels.shape[1]

    @torch.no_grad()
    def mixed(self, levels: Tensor) -> Tensor:
        """The logarithm of the mean of P over the orders, for levels `(n, pixels)`, `(n,)`."""
        none = torch.zeros(len(levels), dtype=torch.long, device=levels.device)
        each = [self.log_probs(levels, none + g, none) for g in range(len(self.order))]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """log P of the levels, as the log-density that is uniform within each level, -inf outside the support."""
        ctx.details["base"] = "discrete"
        values = torch.cat([self.mixed(part) for part in torch.split(self.levels_of(x), ROWS)])
        return (values - x[0].numel() * math.log(self.bins.width)).where(self.bins.inside(x), -torch.inf)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        """Draw the pixels one by one, each image in one of the orders, with one evaluation of the network per pixel."""
        parts = [self._levels(len(rows), ctx) for rows in torch.split(torch.arange(n), 4 * ROWS)]
        channels, height, width = self.shape
        levels = torch.cat(parts).reshape(n, height, width, channels).movedim(-1, 1)
        return self.bins.spread(levels, ctx.generator)

    def _levels(self, n: int, ctx: trilemma.Context) -> Tensor:
        """Levels of `n` images, `(n, pixels)`."""
        order = torch.randint(len(self.order), (n,), generator=ctx.generator, device=ctx.device)
        label = self.label(order, torch.zeros_like(order))
        (height, width), memory = self.size, Memory()
        drawn = torch.zeros((n, height, width), dtype=torch.long, device=ctx.device)
        for i in range(height):
            for j in range(width):
                logits = self.network(drawn, label, i, memory)[:, :, 0, j]
                drawn[:, i, j] = torch.multinomial(logits.softmax(1), 1, generator=ctx.generator)[:, 0]
            memory.next_row()
        return torch.zeros_like(drawn).flatten(1).scatter(1, self.order[order], drawn.flatten(1))
