"""The adversarial game (Goodfellow et al. 2014): two players, their losses, gradient penalties, and steps by turns.

`AdversarialModel` trains any `Game`. A game holds the players and says what is drawn and what is judged: points made of
noise in `gan.py`, single steps of a diffusion in `ddgan.py`. Their networks are chosen when a game is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.points import ROWS, per_point
from .losses import discriminator_loss, generator_loss, with_squared_gradient


class GameConfig(trilemma.Config):
    """The game of the two players."""

    latent: int = Field(4, ge=0, description="coordinates of the generator's latent; on images, channels of it")
    detail: float = Field(0.016, gt=0, description="finest detail that the data has, in deviations of a coordinate")
    r1: float = Field(0.3, ge=0, description="weight gamma of the gradient penalty R1 at the start")
    r1_final: float = Field(0.03, gt=0, description="weight of R1 from 70 % of the budget on, geometrically from `r1`")
    r1_every: int = Field(1, ge=1, description="steps from one R1 to the next, which weighs as much more (lazy R1)")
    r2: bool = Field(False, description="penalize the gradient at drawn points too (R2), with the weight of R1")


def per_block(values: Tensor, x: Tensor) -> Tensor:
    """One value for each block of rows, `(blocks,)`, to broadcast against the rows of `x`."""
    return per_point(values.repeat_interleave(len(x) // len(values)), x)


def draw_latent(x: Tensor, latent: int, generator: torch.Generator) -> Tensor:
    """z ~ N(0, I) for each point of `x`: `(n, latent)` for vectors, `(n, latent, height, width)` for images."""
    return torch.randn((len(x), latent, *x.shape[2:]), generator=generator, device=x.device, dtype=x.dtype)


def diversity(drawn: Tensor, x: Tensor) -> Tensor:
    """Mean deviation of the coordinates of drawn points over that of data: it falls to 0 as all samples become one."""
    return drawn.detach().std(0).mean() / x.std(0).mean()


class Round(NamedTuple):
    """What the discriminator compares in one round: `real` and `fake` points `(n, *shape)`, and how it judges such.

    `detail` is the finest detail of real points in each of the equal blocks that the rows fall into, `(blocks,)`: R1
    weighs less where the density has more of it.
    """

    real: Tensor
    fake: Tensor
    judge: Callable[[Tensor], Tensor]
    detail: Tensor
    diversity: Tensor


class Game(nn.Module, ABC):
    """A generator and a discriminator, what is played for (`play`), and how the generator is used afterwards."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    @abstractmethod
    def play(self, x: Tensor, generator: torch.Generator) -> Round:
        """A round on data `(n, *shape)`."""

    @abstractmethod
    def transform(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Samples of the model from standard normal noise of their shape, `(n, *shape)`."""


class AdversarialModel(trilemma.NeuralModel):
    """A model trained by a game of two players: make `game` in `build`."""

    family = "adversarial"
    recipe = trilemma.Recipe(
        lr=2e-3, betas=(0.0, 0.99), batch_size=256, warmup=0, clip=None, ema=0.995, keep="last", validations=0
    )
    game: Game

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "discriminator": list(self.game.discriminator.parameters()),
            "generator": list(self.game.generator.parameters()),
        }

    def networks(self) -> Iterable[nn.Module]:
        return (self.game.generator,)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Raises UnsupportedError: two players have a loss each, and neither ranks weights."""
        raise trilemma.UnsupportedError(f"'{self.name}' has no validation loss: its recipe's `validations` must be 0")

    def penalty_weight(self, progress: float) -> float:
        """gamma of R1: from `r1` to `r1_final`, geometrically over the first 70 % of the budget."""
        r1, final = self.config.r1, self.config.r1_final
        return float(r1 * (final / r1) ** min(1.0, progress / 0.7)) if r1 > 0 else 0.0

    def training_step(self, x: Tensor, ctx: trilemma.Context, update: trilemma.Update) -> dict[str, Tensor]:
        """The discriminator's step, then the generator's, on the same round.

        The penalty is gamma / 2 |grad D|^2 (Mescheder et al. 2018, section 4.1), weighed by detail^1.5. The curve
        `diversity` is the deviation of what the generator makes of noise, over that of the data.
        """
        config, clock = self.config, ctx.clock
        progress, step = (clock.progress, clock.step) if clock is not None else (0.0, 0)
        real, fake, judge, detail, diverse = self.game.play(x, ctx.generator)

        penalty = x.new_zeros(())
        if config.r1 > 0 and step % config.r1_every == 0:
            real_logits, squared = with_squared_gradient(judge, real)
            fake_logits, squared_fake = with_squared_gradient(judge, fake) if config.r2 else (judge(fake.detach()), 0)
            squared = squared + squared_fake
            penalty = 0.5 * config.r1_every * (per_block(detail**1.5, squared) * squared).mean()
        else:
            real_logits, fake_logits = judge(real), judge(fake.detach())
        d_loss = discriminator_loss(real_logits, fake_logits).mean() + self.penalty_weight(progress) * penalty
        update(d_loss, "discriminator")

        g_loss = generator_loss(judge(fake)).mean()
        update(g_loss, "generator")
        return {
            "loss": d_loss.detach(),
            "generator_loss": g_loss.detach(),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
            "penalty": penalty.detach(),
            "diversity": diverse,
        }

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        parts = []
        for rows in torch.split(torch.arange(n), ROWS):
            noise = torch.randn((len(rows), *ctx.info.shape), generator=ctx.generator, device=ctx.device)
            parts.append(self.game.transform(noise, ctx.generator))
        return torch.cat(parts)
