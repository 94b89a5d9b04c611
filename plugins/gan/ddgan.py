"""The denoising diffusion GAN (Xiao et al. 2022): a few large denoising steps, each drawn by a conditional GAN."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..diffusion.ode import ddim, ddim_step
from ..networks.points import standard_normal
from .game import AdversarialModel, Game, Round, diversity, draw_latent, per_block
from .images import IMAGE_RECIPE, ImageConfig, ImageDiscriminator, ImageGenerator
from .vectors import LONGEST, VectorConfig, VectorDiscriminator, VectorGenerator, data_frequencies, log_spaced

SLOWEST = 4.0
"""Upper limit of the generator's lowest frequency, in units of its noisy input. It binds where noise hides the data."""


class StepsConfig(trilemma.Config):
    """The denoising steps."""

    steps: int = Field(4, ge=1, description="denoising steps T")
    sigma_max: float = Field(6.0, gt=0, description="noise level at which sampling starts")


def noise_levels(steps: int, detail: float, sigma_max: float) -> Tensor:
    """The scale of the finest detail at t = 0, ..., T, shape `(T + 1,)`, float64.

    It is `detail` at t = 0 and the noise level s_t = detail (sigma_max / detail)^(t / T) afterwards.
    """
    return detail * (sigma_max / detail) ** torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def noisy_frequencies(sigmas: Tensor, count: int) -> Tensor:
    """Angular frequencies of the generator's Fourier features at noise levels s, shape `(levels, count)`.

    They apply to x / sqrt(1 + s^2), which is the input of the generator. The shortest wave in x has length pi s.
    """
    stretch = (1 + sigmas**2).sqrt()
    return log_spaced((LONGEST * stretch).clamp(max=SLOWEST), 2 * stretch / sigmas, count)


class PreconditionedGenerator(nn.Module):
    """x_0 drawn given x at noise level s: x / (1 + s^2) + s / sqrt(1 + s^2) F(x / sqrt(1 + s^2), z).

    This is the preconditioning of Karras et al. 2022 (table 1) for data of unit variance, around a raw network that
    also gets a latent.
    """

    sigmas: Tensor

    def __init__(self, network: nn.Module, sigmas: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("sigmas", sigmas, persistent=False)

    def forward(self, x: Tensor, z: Tensor, at: slice) -> Tensor:
        s = per_block(self.sigmas[at], x)
        c_in = (1 + s**2).rsqrt()
        value: Tensor = c_in**2 * x + s * c_in * self.network(c_in * x, z, at)
        return value


class StepDiscriminator(nn.Module):
    """The logit that a step from x_{t+1} to x comes from data.

    In each block of rows, x is at the noise level `low` and x_{t+1} at the noise level `high`. The raw network gets x,
    x_{t+1} and their difference, all scaled to unit variance.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: nn.Module, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    def forward(self, x: Tensor, x_next: Tensor) -> Tensor:
        low, high = per_block(self.low, x), per_block(self.high, x)
        points = [x * (1 + low**2).rsqrt(), x_next * (1 + high**2).rsqrt()]
        value: Tensor = self.network([*points, (x_next - x) * (high**2 - low**2).rsqrt()])
        return value


class DenoisingGame(Game):
    """The game of DDGAN: the generator draws x_0 given x_{t+1}, and the discriminator judges steps from x_{t+1} to x_t.

    The diffusion is variance-exploding, x_t = x_0 + s_t n, and x_t is drawn from q(x_t | x_{t+1}, x_0) (Xiao et al.
    2022, section 3.2). All T steps are trained at once, each on an equal block of rows.
    """

    detail: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, generator: nn.Module, discriminator: nn.Module, latent: int, finest: Tensor, sigmas: Tensor):
        low, high = sigmas[:-1], sigmas[1:]
        super().__init__(PreconditionedGenerator(generator, high), StepDiscriminator(discriminator, low, high))
        self.latent = latent
        for name, values in {"detail": finest, "low": low, "high": high}.items():
            self.register_buffer(name, values, persistent=False)

    def pairs(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x_t ~ q(x_t | x_0) and x_{t+1} ~ q(x_{t+1} | x_t), with an equal block of the points `x` for each t."""
        low, high = per_block(self.low, x), per_block(self.high, x)
        x_t = x + low * standard_normal(x, generator)
        return x_t, x_t + (high**2 - low**2).sqrt() * standard_normal(x, generator)

    def draw_clean(self, x: Tensor, at: slice, generator: torch.Generator) -> Tensor:
        """Draw x_0 given x_{t+1}, by the generator with a fresh latent for each point."""
        clean: Tensor = self.generator(x, draw_latent(x, self.latent, generator), at)
        return clean

    def play(self, x: Tensor, generator: torch.Generator) -> Round:
        """A round on all T steps. Rows beyond a multiple of T are left out. Diversity is measured at the last level."""
        size = len(x) // len(self.high)
        x = x[: size * len(self.high)]
        x_t, x_next = self.pairs(x, generator)
        clean = self.draw_clean(x_next, slice(None), generator)
        low, high = (s.repeat_interleave(size) for s in (self.low, self.high))
        fake = ddim_step(clean, x_next, high, low, 1.0, generator)
        judge = partial(self.discriminator, x_next=x_next)
        return Round(x_t, fake, judge, self.detail, diversity(clean[-size:], x))

    def transform(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """One evaluation of the generator for each level. The last one gives x_0 (Xiao et al. 2022, section 3.2)."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            at = int((self.high - sigma).abs().argmin())
            return self.draw_clean(x, slice(at, at + 1), generator)

        return ddim(denoise, noise, self.high.flip(0), 1.0, generator)


class Ddgan(AdversarialModel):
    """Denoising diffusion GAN (Xiao et al. 2022), with MLPs, on vectors and flattened images.

    A sample takes T evaluations. The diffusion is variance-exploding: x_t = x_0 + s_t n with s_0 = 0 and
    s_t = detail (sigma_max / detail)^(t / T). The generator draws x_0 given x_{t+1}, and x_t is drawn from
    q(x_t | x_{t+1}, x_0). Each step has its own networks.

    Deviations from the paper: its diffusion is variance-preserving, and leaves a large noise level to the last step,
    which blurs sharp distributions; the posterior of a step is the same in other coordinates. Its generator is one
    network for all steps with a mapping network for the latent, here one MLP for each step, preconditioned as by Karras
    et al. 2022 and with Fourier features. All steps are trained in each minibatch in equal parts, instead of drawn at
    random. R1 is weighted by the detail of the step, and its weight falls. The losses are the same.
    """

    name = "ddgan"

    class Config(VectorConfig, StepsConfig):
        """The steps, the game and the players."""

    def build(self, info: trilemma.DataInfo) -> None:
        c = self.config
        levels = noise_levels(c.steps, c.detail, c.sigma_max)
        finest, high = levels[:-1], levels[1:]
        sigmas = torch.cat([torch.zeros_like(levels[:1]), high])
        # The discriminator gets x_t and x_{t+1} scaled to unit variance, so the frequencies grow by the same factors.
        stretch = (1 + torch.stack([sigmas[:-1], high]) ** 2).sqrt().unsqueeze(2)
        self.game = DenoisingGame(
            VectorGenerator(info.dim, c.latent, noisy_frequencies(high, c.features), c.hidden),
            VectorDiscriminator(3, info.dim, stretch * data_frequencies(finest, c.features + 1), c.hidden),
            c.latent,
            finest,
            sigmas,
        )


class DdganUnet(AdversarialModel):
    """Denoising diffusion GAN (Xiao et al. 2022) with a small U-Net, on images of 8 to 32 pixels per side.

    The diffusion is the same as in `ddgan`, but one pair of networks serves all steps. In the finest step, the
    discriminator sees points with noise of the size of the finest detail (instance noise), so that quantization does
    not count. The generator learns more slowly than the discriminator. The model is experimental: after one minute of
    training on digits with one core, strokes are sharp, but many samples are not legible digits.

    Further deviations from the paper are those of `ddgan`, except for the networks, and the latent enters as channels
    of the input instead of by adaptive normalization.
    """

    name = "ddgan-unet"
    accepts = ("image",)
    recipe = IMAGE_RECIPE

    class Config(ImageConfig, StepsConfig):
        """The steps, the game and the players."""

    def build(self, info: trilemma.DataInfo) -> None:
        c = self.config
        levels = noise_levels(c.steps, c.detail, c.sigma_max)
        self.game = DenoisingGame(
            ImageGenerator(info.shape, c.latent, levels[1:].log() / 4, c.widths, c.blocks),
            ImageDiscriminator(3, info.shape, c.steps, c.widths),
            c.latent,
            levels[:-1],
            levels,
        )
