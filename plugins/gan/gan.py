"""The generative adversarial network (Goodfellow et al. 2014), which maps noise to data in one evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import trilemma

from ..networks.points import standard_normal
from .game import AdversarialModel, Game, Round, diversity, draw_latent
from .images import IMAGE_RECIPE, ImageConfig, ImageDiscriminator, ImageGenerator
from .noise import NoiseConfig
from .vectors import VectorConfig, VectorDiscriminator, VectorGenerator, data_frequencies, log_spaced

NOISE_FREQUENCIES = 4.0, 2.0
"""First and last angular frequency of the generator's Fourier features of its noise."""


class PlainGame(Game):
    """The game of a plain GAN: the discriminator tells generated points from data (Goodfellow et al. 2014, eq. 1).

    `instance_noise` is the standard deviation of noise that is added to all points before the discriminator sees them
    (Sonderby et al. 2017). It hides finer detail, such as the quantization of images.
    """

    detail: Tensor

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent: int, detail: float, instance_noise: float = 0.0
    ) -> None:
        super().__init__(generator, discriminator)
        self.latent, self.instance_noise = latent, instance_noise
        self.register_buffer("detail", torch.tensor([detail], dtype=torch.float64), persistent=False)

    def transform(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """G(u, z), where u is noise of the shape of the data and z is a latent with further coordinates."""
        made: Tensor = self.generator(noise, draw_latent(noise, self.latent, generator))
        return made

    def noisy(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Points `x` with instance noise added."""
        return x + self.instance_noise * standard_normal(x, generator)

    def judge(self, x: Tensor) -> Tensor:
        """The logit that a point comes from data, `(n,)`. The network gets points scaled to unit variance."""
        logits: Tensor = self.discriminator([x * (1 + self.instance_noise**2) ** -0.5])
        return logits

    def play(self, x: Tensor, generator: torch.Generator) -> Round:
        real = self.noisy(x, generator)
        made = self.transform(standard_normal(x, generator), generator)
        fake = self.noisy(made, generator)
        return Round(real, fake, self.judge, self.detail, diversity(made, x))


class Gan(AdversarialModel):
    """Plain GAN (Goodfellow et al. 2014), with the networks, losses and R1 penalty of `ddgan`, but without diffusion.

    The noise of the generator has `latent` more coordinates than the data. With `noise`, it passes a flow (RealNVP or
    IAF), which is trained with the generator.

    Deviations from the paper: the gradient penalty R1 (Mescheder et al. 2018), Fourier features in both networks, SiLU
    and leaky ReLU instead of maxout and ReLU, Adam instead of momentum, an average of the generator's weights, and the
    discriminator takes one step per step of the generator (k = 1, as in the experiments of the paper). The generator
    minimizes the non-saturating loss that the paper recommends in section 3.
    """

    name = "gan"

    class Config(NoiseConfig, VectorConfig):
        """The game, the players and the noise."""

    def build(self, info: trilemma.DataInfo) -> None:
        c, detail = self.config, torch.tensor([self.config.detail], dtype=torch.float64)
        first, last = (torch.full_like(detail, f) for f in NOISE_FREQUENCIES)
        seen = data_frequencies(detail, c.features + 1).unsqueeze(0)
        generator = VectorGenerator(info.dim, c.latent, log_spaced(first, last, c.features), c.hidden)
        self.game = PlainGame(
            c.wrap(generator, info.dim + c.latent),
            VectorDiscriminator(1, info.dim, seen, c.hidden),
            c.latent,
            c.detail,
        )


class GanUnet(AdversarialModel):
    """Plain GAN (Goodfellow et al. 2014) on images, with the networks, losses and R1 penalty of `ddgan-unet`.

    There is no diffusion. The noise of the generator has `latent` more channels than the data. With `noise`, it passes
    a flow (RealNVP or IAF) of all its values, which is trained with the generator. The discriminator sees data and
    samples with noise of the size of the finest detail (instance noise).

    Deviations from the paper are those of `gan`, and: convolutional networks, a generator that is a U-Net from noise of
    the size of the image, instance noise (Sonderby et al. 2017), and different learning rates of the two players.
    """

    name = "gan-unet"
    accepts = ("image",)
    recipe = IMAGE_RECIPE

    class Config(NoiseConfig, ImageConfig):
        """The game, the players and the noise."""

    def build(self, info: trilemma.DataInfo) -> None:
        c = self.config
        channels, height, width = info.shape
        generator = ImageGenerator(info.shape, c.latent, torch.zeros(1), c.widths, c.blocks)
        self.game = PlainGame(
            c.wrap(generator, (channels + c.latent) * height * width),
            ImageDiscriminator(1, info.shape, 1, c.widths),
            c.latent,
            c.detail,
            instance_noise=c.detail,
        )
