"""The generative adversarial network (Goodfellow et al. 2014): noise to data in one evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import trilemma

from ..networks.points import standard_normal
from .game import AdversarialModel, Game, Round, diversity, draw_latent
from .images import IMAGE_RECIPE, ImageConfig, ImageDiscriminator, ImageGenerator
from .vectors import VectorConfig, VectorDiscriminator, VectorGenerator, data_frequencies, log_spaced

NOISE_FREQUENCIES = 4.0, 2.0
"""First and last angular frequency of the waves that the generator sees of its noise."""


class PlainGame(Game):
    """The generator makes points of noise, and the discriminator tells them from data (Goodfellow et al. 2014, eq. 1).

    `instance_noise` is the deviation of noise added to all that the discriminator sees, so that detail below it does
    not count (Sonderby et al. 2017): the quantization of images.
    """

    detail: Tensor

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent: int, detail: float, instance_noise: float = 0.0
    ) -> None:
        super().__init__(generator, discriminator)
        self.latent, self.instance_noise = latent, instance_noise
        self.register_buffer("detail", torch.tensor([detail], dtype=torch.float64), persistent=False)

    def transform(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """G(u, z) of noise u, with as many coordinates as the data, and a latent z of further ones."""
        made: Tensor = self.generator(noise, draw_latent(noise, self.latent, generator))
        return made

    def noisy(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Points under the instance noise."""
        return x + self.instance_noise * standard_normal(x, generator)

    def judge(self, x: Tensor) -> Tensor:
        """The logit that a point is data's, `(n,)`; the network sees it at unit variance."""
        logits: Tensor = self.discriminator([x * (1 + self.instance_noise**2) ** -0.5])
        return logits

    def play(self, x: Tensor, generator: torch.Generator) -> Round:
        real = self.noisy(x, generator)
        made = self.transform(standard_normal(x, generator), generator)
        fake = self.noisy(made, generator)
        return Round(real, fake, self.judge, self.detail, diversity(made, x))


class Gan(AdversarialModel):
    """A plain GAN (Goodfellow et al. 2014): the networks, losses and R1 of `ddgan` without diffusion.

    The generator's noise has as many coordinates as the data, and `latent` more.
    """

    name = "gan"

    class Config(VectorConfig):
        """The game and the players."""

    def build(self, info: trilemma.DataInfo) -> None:
        c, detail = self.config, torch.tensor([self.config.detail], dtype=torch.float64)
        first, last = (torch.full_like(detail, f) for f in NOISE_FREQUENCIES)
        seen = data_frequencies(detail, c.features + 1).unsqueeze(0)
        self.game = PlainGame(
            VectorGenerator(info.dim, c.latent, log_spaced(first, last, c.features), c.hidden),
            VectorDiscriminator(1, info.dim, seen, c.hidden),
            c.latent,
            c.detail,
        )


class GanUnet(AdversarialModel):
    """A plain GAN (Goodfellow et al. 2014) on images: the networks, losses and R1 of `ddgan-unet` without diffusion.

    The generator's noise has as many channels as the data, and `latent` more. Data and samples are judged under noise
    of the finest detail (instance noise).
    """

    name = "gan-unet"
    accepts = ("image",)
    recipe = IMAGE_RECIPE

    class Config(ImageConfig):
        """The game and the players."""

    def build(self, info: trilemma.DataInfo) -> None:
        c = self.config
        self.game = PlainGame(
            ImageGenerator(info.shape, c.latent, torch.zeros(1), c.widths, c.blocks),
            ImageDiscriminator(1, info.shape, 1, c.widths),
            c.latent,
            c.detail,
            instance_noise=c.detail,
        )
