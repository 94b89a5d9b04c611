"""The denoising diffusion GAN (Xiao et al. 2022) on images, with a U-Net and a convolutional discriminator."""

from __future__ import annotations

from pydantic import Field
from torch import nn

import trilemma

from .ddgan import Ddgan, GameConfig, StepsConfig
from .images import ImageDiscriminator, ImageGenerator


class ImageConfig(GameConfig):
    """The game, and two players that are convolutional networks."""

    r1_every: int = Field(8, ge=1, description="steps from one R1 to the next, which weighs as much more (lazy R1)")
    latent: int = Field(4, ge=0, description="channels of the generator's latent, which lives on the pixels")
    detail: float = Field(0.25, gt=0, description="finest detail that the data has, in deviations of all intensities")
    widths: tuple[int, ...] = Field((16, 32), description="channels of each level of the networks")
    blocks: int = Field(1, ge=1, description="residual blocks at each level of the generator's U-Net")


class DdganUnet(Ddgan):
    """The denoising diffusion GAN (Xiao et al. 2022) with a small U-Net, on images of 8 to 32 pixels a side.

    The diffusion is that of `ddgan`; one pair of networks serves all steps. The finest step is judged under noise of
    the finest detail (instance noise). The generator learns more slowly than the discriminator (Heusel et al. 2017): at
    equal rates the discriminator falls behind until it tells nothing apart. Experimental: after a minute of one core on
    digits strokes are sharp, but many samples are no legible digits.
    """

    name = "ddgan-unet"
    accepts = ("image",)
    smoothed = True
    recipe = Ddgan.recipe.model_copy(
        update={"lr": 2.5e-3, "lr_factors": {"generator": 0.16}, "betas": (0.5, 0.99), "batch_size": 64}
    )

    class Config(ImageConfig, StepsConfig):
        """The steps, the game and the players."""

    def drawing_network(self, info: trilemma.DataInfo) -> nn.Module:
        channels, height, width = info.shape
        config = self.config
        return ImageGenerator((channels, height, width), config.latent, self.high, config.widths, config.blocks)

    def judging_network(self, info: trilemma.DataInfo, parts: int) -> nn.Module:
        channels, height, width = info.shape
        return ImageDiscriminator(parts, (channels, height, width), len(self.high), self.config.widths)
