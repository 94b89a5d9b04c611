"""The denoising diffusion GAN (Xiao et al. 2022) on images, with a U-Net and a convolutional discriminator."""

from __future__ import annotations

from pydantic import Field
from torch import nn

import trilemma
from trilemma.plugins.ddgan.ddgan import Ddgan, GameConfig, StepsConfig
from trilemma.plugins.ddgan.images import ImageDiscriminator, ImageGenerator


class ImageConfig(GameConfig):
    """The game, and two players that are convolutional networks."""

    latent: int = Field(4, ge=0, description="channels of the generator's latent, which lives on the pixels")
    detail: float = Field(0.1, gt=0, description="finest detail that the data has, in deviations of all intensities")
    widths: tuple[int, ...] = Field((24, 48), description="channels of each level of the networks")
    blocks: int = Field(1, ge=1, description="residual blocks at each level of the generator's U-Net")


class DdganUnet(Ddgan):
    """The denoising diffusion GAN (Xiao et al. 2022) with a small U-Net, on images of 8 to 32 pixels a side.

    The diffusion is that of `ddgan`; one pair of networks serves all steps. Experimental: within a minute of one core
    on digits its discriminator stays near chance, and the samples blurred and noisy; `gan-unet` is sharper.
    """

    name = "ddgan-unet"
    accepts = ("image",)
    recipe = Ddgan.recipe.model_copy(update={"lr": 5e-4, "batch_size": 64})

    class Config(ImageConfig, StepsConfig):
        """The steps, the game and the players."""

    def drawing_network(self, info: trilemma.DataInfo) -> nn.Module:
        channels, height, width = info.shape
        config = self.config
        return ImageGenerator((channels, height, width), config.latent, self.high, config.widths, config.blocks)

    def judging_network(self, info: trilemma.DataInfo, parts: int) -> nn.Module:
        channels, height, width = info.shape
        return ImageDiscriminator(parts, (channels, height, width), len(self.high), self.config.widths)
