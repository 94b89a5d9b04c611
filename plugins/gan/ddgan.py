"""The denoising diffusion GAN (Xiao et al. 2022): a few large denoising steps, each drawn by a conditional GAN."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..diffusion.ode import ddim, ddim_step
from ..diffusion.schedules import VarianceExploding
from ..networks.points import ROWS, standard_normal
from .losses import discriminator_loss, generator_loss, with_squared_gradient
from .networks import Discriminator, Generator, VectorDiscriminator, VectorGenerator, per_block


class GameConfig(trilemma.Config):
    """The game of the two players."""

    latent: int = Field(4, ge=0, description="coordinates of the generator's latent; on images, channels of it")
    detail: float = Field(0.016, gt=0, description="finest detail that the data has, in deviations of a coordinate")
    r1: float = Field(0.3, ge=0, description="weight gamma of the gradient penalty R1 at the start")
    r1_final: float = Field(0.03, gt=0, description="weight of R1 from 70 % of the budget on, geometrically from `r1`")
    r1_every: int = Field(1, ge=1, description="steps from one R1 to the next, which weighs as much more (lazy R1)")
    r2: bool = Field(False, description="penalize the gradient at drawn points too (R2), with the weight of R1")


class StepsConfig(trilemma.Config):
    """The denoising steps."""

    steps: int = Field(4, ge=1, description="denoising steps T")
    sigma_max: float = Field(6.0, gt=0, description="noise level at which sampling starts")


class VectorConfig(GameConfig):
    """The game, and two players that are MLPs."""

    hidden: tuple[int, ...] = Field((128, 128, 128), description="widths of the hidden layers")
    features: int = Field(
        4, ge=1, description="frequencies of Fourier features in the generator; the discriminator has one more"
    )


class Ddgan(trilemma.NeuralModel):
    """Denoising diffusion GAN (Xiao et al. 2022), with MLPs on vectors and flattened images: T evaluations a sample.

    The diffusion is variance-exploding: x_t = x_0 + s_t n with s_0 = 0, s_t = detail (sigma_max / detail)^(t / T). The
    generator draws x_0 given x_{t+1}, and x_t comes from q(x_t | x_{t+1}, x_0). Each step has networks of its own.
    """

    name = "ddgan"
    recipe = trilemma.Recipe(
        lr=2e-3, betas=(0.0, 0.99), batch_size=256, warmup=0, clip=None, ema=0.995, keep="last", validations=0
    )
    conditional = True
    """Whether the discriminator is shown x_{t+1} beside x_t."""
    smoothed = False
    """Whether the finest step is judged under noise of the finest detail, so that quantization noise does not count."""

    finest: Tensor
    low: Tensor
    high: Tensor

    class Config(VectorConfig, StepsConfig):
        """The steps, the game and the players."""

    def levels(self) -> Tensor:
        """The finest detail there is at each level: that of the data, then the noise levels s_1, ..., s_T; float64."""
        times = torch.linspace(0, 1, self.config.steps + 1, dtype=torch.float64)
        return VarianceExploding(self.config.detail, self.config.sigma_max).sigma(times)

    def drawing_network(self, info: trilemma.DataInfo) -> nn.Module:
        """The raw network of the generator."""
        config = self.config
        return VectorGenerator(info.dim, config.latent, self.high, config.hidden, config.features)

    def judging_network(self, info: trilemma.DataInfo, parts: int) -> nn.Module:
        """The raw network of the discriminator, which is given `parts` points or differences of points."""
        config = self.config
        scales = (1 + torch.stack([self.low, self.high] if self.conditional else [self.low]) ** 2).sqrt()
        return VectorDiscriminator(parts, info.dim, scales, self.finest, config.hidden, config.features + 1)

    def build(self, info: trilemma.DataInfo) -> None:
        levels = self.levels()
        low = levels[:-1].clone()
        if not self.smoothed:
            low[0] = 0
        for name, values in {"finest": levels[:-1], "low": low, "high": levels[1:]}.items():
            self.register_buffer(name, values, persistent=False)
        self.generator = Generator(self.drawing_network(info), self.high)
        network = self.judging_network(info, 3 if self.conditional else 1)
        self.discriminator = Discriminator(network, self.low, self.high, self.conditional)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "discriminator": list(self.discriminator.parameters()),
            "generator": list(self.generator.parameters()),
        }

    def networks(self) -> Iterable[nn.Module]:
        return (self.generator,)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Raises UnsupportedError: two players have a loss each, and neither ranks weights."""
        raise trilemma.UnsupportedError(f"'{self.name}' has no validation loss: its recipe's `validations` must be 0")

    def pairs(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x_t ~ q(x_t | x_0) and x_{t+1} ~ q(x_{t+1} | x_t), with an equal block of the points `x` at each t."""
        low, high = per_block(self.low, x), per_block(self.high, x)
        x_t = x + low * standard_normal(x, generator)
        return x_t, x_t + (high**2 - low**2).sqrt() * standard_normal(x, generator)

    def draw_clean(self, x: Tensor, at: slice, generator: torch.Generator) -> Tensor:
        """x_0 given x_{t+1}, by the generator and a latent of its own for each point."""
        shape = (len(x), self.config.latent, *x.shape[2:])
        z = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        clean: Tensor = self.generator(x, z, at)
        return clean

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """The discriminator's step, then the generator's, on the same steps of the diffusion at all levels.

        `spread` is the deviation of what the generator makes of the noisiest level, over the data's: it falls to 0 with
        the diversity of the samples.
        """
        config, clock = self.config, ctx.clock
        progress, step = (clock.progress, clock.step) if clock is not None else (0.0, 0)
        x = x[: len(x) // len(self.high) * len(self.high)]
        x_t, x_next = self.pairs(x, ctx.generator)
        clean = self.draw_clean(x_next, slice(None), ctx.generator)
        low, high = (s.repeat_interleave(len(x) // len(s)) for s in (self.low, self.high))
        fake = ddim_step(clean, x_next, high, low, 1.0, ctx.generator)

        judge = partial(self.discriminator, x_next=x_next)
        penalty = x.new_zeros(())
        if config.r1 > 0 and step % config.r1_every == 0:
            real_logits, squared = with_squared_gradient(judge, x_t)
            fake_logits, squared_fake = with_squared_gradient(judge, fake) if config.r2 else (judge(fake.detach()), 0)
            squared = squared + squared_fake
            penalty = 0.5 * config.r1_every * (per_block(self.finest**1.5, squared) * squared).mean()
        else:
            real_logits, fake_logits = judge(x_t), judge(fake.detach())
        gamma = config.r1 * (config.r1_final / config.r1) ** min(1.0, progress / 0.7) if config.r1 > 0 else 0.0
        d_loss = discriminator_loss(real_logits, fake_logits).mean()
        update(d_loss + gamma * penalty, "discriminator")

        g_loss = generator_loss(judge(fake)).mean()
        update(g_loss, "generator")
        last = len(x) // len(self.high)
        return {
            "loss": (d_loss + gamma * penalty).detach(),
            "generator_loss": g_loss.detach(),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
            "penalty": penalty.detach(),
            "spread": clean[-last:].detach().std(0).mean() / x.std(0).mean(),
        }

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        """One evaluation of the generator for each level; the last gives x_0 itself (Xiao et al. 2022, section 3.2)."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            at = int((self.high - sigma).abs().argmin())
            return self.draw_clean(x, slice(at, at + 1), ctx.generator)

        parts = []
        for rows in torch.split(torch.arange(n), ROWS):
            noise = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            parts.append(ddim(denoise, noise, self.high.flip(0), 1.0, ctx.generator))
        return torch.cat(parts)
