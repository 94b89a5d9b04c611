"""The plain generative adversarial network (Goodfellow et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor

from .ddgan import Ddgan, VectorConfig
from .unet import DdganUnet, ImageConfig

PURE_NOISE = 500.0
"""Noise level above which data is invisible: the generator starts from noise alone."""


class Undiffused(Ddgan):
    """The one step from pure noise to data, whose discriminator sees data alone."""

    conditional = False

    def levels(self) -> Tensor:
        return torch.tensor([self.config.detail, PURE_NOISE], dtype=torch.float64)


class Gan(Undiffused):
    """A plain GAN (Goodfellow et al. 2014): the networks, losses and R1 of `ddgan` without diffusion.

    The generator's noise has as many coordinates as the data, and `latent` more.
    """

    name = "gan"

    class Config(VectorConfig):
        """The game and the players."""


class GanUnet(Undiffused, DdganUnet):
    """A plain GAN (Goodfellow et al. 2014) on images: the networks, losses and R1 of `ddgan-unet` without diffusion.

    The generator's noise has as many channels as the data, and `latent` more.
    """

    name = "gan-unet"

    class Config(ImageConfig):
        """The game and the players."""
