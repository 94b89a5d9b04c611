"""Drifting models (Deng et al. 2026): generators of one evaluation, trained without an adversary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..networks.mlp import FourierFeatures, initialize, mlp
from ..networks.points import ROWS
from .field import drift

SCALE_POINTS = 128
"""Points of a batch from which the mean distance between samples and data is estimated."""

VALIDATION_POINTS = 1_000
"""Points of the energy distance that chooses the kept weights."""


class Generator(nn.Module):
    """f(z), an MLP on Fourier features of noise `(n, latent)`, which gives points `(n, d)` of about unit variance."""

    def __init__(self, latent: int, d: int, hidden: Sequence[int], octaves: int) -> None:
        super().__init__()
        self.features = FourierFeatures(octaves)
        self.body = mlp((self.features.width(latent), *hidden, d))
        initialize(self.body)

    def forward(self, z: Tensor) -> Tensor:
        value: Tensor = self.body(self.features(z))
        return value


class Drifting(trilemma.NeuralModel):
    """Drifting model (Deng et al. 2026): one evaluation from noise to a sample, on vectors and flattened images.

    In training each sample f(z) moves by the drifting field V, towards data and away from other samples, and the
    network is trained to follow: the loss is |f(z) - sg(f(z) + V)|^2, where no gradient flows through the target. The
    field vanishes when samples and data have the same distribution.

    Deviations from the paper: distances are those of the points and not of features of a pretrained encoder;
    temperatures are shares of the mean distance of samples to data (public code: to data and other samples), and points
    are not divided by that distance, as features are; there are two temperatures, not three, and their fields are
    averaged, and not each divided by its root mean square first, so that the steps shrink as the distributions come
    together; the noise passes an MLP; there are no classes and no guidance. The loss is no measure
    of quality, so that the weights with the least energy distance to the validation points are kept.
    """

    name = "drifting"
    family = "drifting"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=256, betas=(0.9, 0.99), schedule="cosine", ema=0.998)

    class Config(trilemma.Config):
        """Options of the generator and of the field."""

        latent: int = Field(8, ge=1, description="coordinates of the noise, at least as many as those of the data")
        hidden: tuple[int, ...] = Field(
            (128, 128, 128),
            description="widths of the hidden layers",
            json_schema_extra={"tune": "[64, 64]|[128, 128]|[128, 128, 128]|[256, 256, 256]"},
        )
        octaves: int = Field(1, ge=0, description="number of octaves in the Fourier features of the noise")
        temperatures: tuple[float, ...] = Field(
            (0.02, 0.1),
            min_length=1,
            description="temperatures of the kernel, as shares of the mean distance between samples and data",
            json_schema_extra={"tune": "[0.02]|[0.05]|[0.02, 0.1]|[0.02, 0.05, 0.2]"},
        )
        balanced: bool = Field(
            True,
            description="whether the kernel is normalized over the samples too, as in the algorithm of the paper, and "
            "not only over the points that they are drawn to",
        )

    def build(self, info: trilemma.DataInfo) -> None:
        config = self.config
        self.latent = max(config.latent, info.dim)
        self.generator = Generator(self.latent, info.dim, config.hidden, config.octaves)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """|f(z) - sg(f(z) + V)|^2, a mean over samples and coordinates (Deng et al. 2026, algorithm 1)."""
        made = self.generated(len(x), ctx)
        with torch.no_grad():
            scale = torch.cdist(made[:SCALE_POINTS], x[:SCALE_POINTS]).mean()
            temperatures = [share * scale for share in self.config.temperatures]
            target = made + drift(made, x, made, temperatures, balanced=self.config.balanced)
        return (made - target).square().mean()

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """2 E|x - y| - E|y - y'| for samples y: the energy distance to the points `x`, up to a constant of `x`."""
        x = x[:VALIDATION_POINTS].flatten(1)
        made = self.generated(len(x), ctx)
        among = torch.cdist(made, made).sum() / (len(made) * (len(made) - 1))
        return 2 * torch.cdist(x, made).mean() - among

    def generated(self, n: int, ctx: trilemma.Context) -> Tensor:
        """`n` samples."""
        noise = torch.randn((n, self.latent), generator=ctx.generator, device=ctx.device)
        made: Tensor = self.generator(noise)
        return made

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        parts = [self.generated(len(rows), ctx) for rows in torch.split(torch.arange(n), ROWS)]
        return torch.cat(parts).reshape(n, *ctx.info.shape)
