"""The networks of adversarial players on images of 8 to 32 pixels per side.

Rows fall into equal blocks, one for each noise level (a plain GAN has one block). A slice `at` selects some of the
blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.unet import DENSE_UP_TO, DENSE_WIDTH, UNet
from .game import AdversarialModel, GameConfig


class ImageConfig(GameConfig):
    """Options of the game, and of two players that are convolutional networks."""

    r1_every: int = Field(
        8, ge=1, description="steps from one R1 penalty to the next; the weight is multiplied by it (lazy R1)"
    )
    latent: int = Field(4, ge=0, description="channels of the generator's latent, which has the size of the image")
    detail: float = Field(
        0.25, gt=0, description="size of the finest detail of the data, in standard deviations of all intensities"
    )
    widths: tuple[int, ...] = Field((16, 32), description="channels of each level of the networks")
    blocks: int = Field(1, ge=1, description="residual blocks at each level of the generator's U-Net")


IMAGE_RECIPE = AdversarialModel.recipe.model_copy(
    update={"lr": 2.5e-3, "lr_factors": {"generator": 0.16}, "betas": (0.5, 0.99), "batch_size": 64}
)
"""The training recipe of players on images.

The generator learns more slowly than the discriminator (Heusel et al. 2017). At equal rates the discriminator falls
behind until it cannot tell generated images from data.
"""


class ImageGenerator(nn.Module):
    """F(u, z) on images of about unit variance: a U-Net that gets the latent as further channels.

    `labels` `(blocks,)` tell the network which block a row belongs to. The latent has one value per pixel, so it can
    also produce the dequantization noise of the images.
    """

    labels: Tensor

    def __init__(self, shape: tuple[int, ...], latent: int, labels: Tensor, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.register_buffer("labels", labels, persistent=False)
        self.body = UNet((channels + latent, height, width), channels, widths=widths, blocks=blocks)

    def forward(self, u: Tensor, z: Tensor, at: slice = slice(None)) -> Tensor:
        labels = self.labels[at].repeat_interleave(len(u) // len(self.labels[at])).to(u)
        value: Tensor = self.body(torch.cat([u, z], dim=1), labels)
        return value


class ResidualDown(nn.Module):
    """(conv(act(conv(act x) + shift)) + skip) / sqrt 2, with a shift for each block of rows.

    With `shrink`, means over squares of 2 x 2 pixels follow.
    """

    def __init__(self, channels_in: int, channels: int, blocks: int, shrink: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.shift = nn.Parameter(torch.zeros(blocks, channels))
        self.shrink = shrink

    def forward(self, x: Tensor) -> Tensor:
        shift = self.shift.repeat_interleave(len(x) // len(self.shift), dim=0)
        h = self.conv_in(F.leaky_relu(x, 0.2)) + shift[..., None, None]
        x = (self.conv_out(F.leaky_relu(h, 0.2)) + self.skip(x)) * 0.5**0.5
        return F.avg_pool2d(x, 2) if self.shrink else x


class ImageDiscriminator(nn.Module):
    """A discriminator of images of about unit variance, with one logit per row.

    Each of its inputs, the parts, is a batch of images. Residual blocks without normalization halve the sides. The
    final dense layers get all features of the coarsest level if they are few, and else their means over pixels.
    """

    def __init__(self, parts: int, shape: tuple[int, ...], blocks: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = shape
        self.stem = nn.Conv2d(parts * channels, widths[0], 3, padding=1)
        self.position = nn.Parameter(torch.zeros(widths[0], height, width))
        sides = [1, *(2 ** min(k + 1, len(widths) - 1) for k in range(len(widths)))]
        self.body = nn.Sequential(
            *(
                ResidualDown(widths[max(0, k - 1)], c, blocks, shrink=sides[k + 1] > sides[k])
                for k, c in enumerate(widths)
            )
        )
        self.dense = widths[-1] * (height // sides[-1]) * (width // sides[-1])
        self.pooled = self.dense > DENSE_UP_TO
        features = widths[-1] if self.pooled else self.dense
        self.last = nn.Sequential(nn.Linear(features, DENSE_WIDTH), nn.LeakyReLU(0.2), nn.Linear(DENSE_WIDTH, 1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # This keeps the second moment through leaky ReLUs. With torch's default, the logits stay near 0.
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        x = torch.cat(list(parts), dim=1).contiguous(memory_format=torch.channels_last)
        h = F.leaky_relu(self.body(self.stem(x) + self.position), 0.2)
        value: Tensor = self.last(h.mean((2, 3)) if self.pooled else h.flatten(1)).squeeze(1)
        return value
