"""The variational autoencoder (Kingma & Welling 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

import trilemma

from ..flows.transforms import soft_clip
from ..networks.mlp import FourierFeatures, dropout_for, initialize, mlp
from ..networks.points import standard_normal
from .elbo import Gaussian, divergence_from_prior, importance_bound, log_normal, reparametrize


class GaussianNetwork(nn.Module):
    """A diagonal Gaussian on `(n, n_out)` for each row of `(n, n_in)`, by an MLP over Fourier features of the row."""

    def __init__(
        self, n_in: int, n_out: int, hidden: Sequence[int], *, octaves: int, bound: float, dropout: float
    ) -> None:
        super().__init__()
        self.bound = bound
        self.features = FourierFeatures(octaves)
        self.body = mlp((self.features.width(n_in), *hidden, 2 * n_out), dropout)
        initialize(self.body, last_gain=1.0)

    def forward(self, x: Tensor) -> Gaussian:
        mean, raw = self.body(self.features(x)).chunk(2, dim=1)
        return mean, soft_clip(raw, self.bound)


class Vae(trilemma.NeuralModel):
    """Variational autoencoder (Kingma & Welling 2014) on vectors and flattened images, with a N(0, I) prior.

    Encoder and decoder give a mean and a deviation for each coordinate, so that the decoder's variance is learned too.
    Its log-density is a lower bound from importance samples.
    """

    name = "vae"
    family = "autoencoder"
    likelihood = "bound"
    image_space = "logit"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=512, schedule="cosine", ema=0.998)

    class Config(trilemma.Config):
        """Architecture of the autoencoder."""

        latent: int = Field(16, ge=1, description="latent coordinates, at most twice those of the data")
        hidden: tuple[int, ...] = Field((128, 128), description="widths of the encoder's and decoder's hidden layers")
        octaves: int = Field(2, ge=0, description="octaves of Fourier features of each coordinate")
        bound: float = Field(6.0, gt=0, description="largest absolute log-deviation of encoder and decoder")
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout in the networks; by default 0.2 below 100 training points per coordinate, else 0",
        )
        warmup: float = Field(
            0.3, ge=0, lt=1, description="share of the budget over which the weight of the divergence rises from 0 to 1"
        )

    class Likelihood(trilemma.Config):
        """How the bound is computed."""

        samples: int = Field(64, ge=1, description="importance samples K: 1 is the ELBO, more tighten the bound")

    def build(self, info: trilemma.DataInfo) -> None:
        config, d = self.config, info.dim
        self.latent = min(config.latent, 2 * d)
        self.dropout = dropout_for(info, config.dropout, 0.2)
        options = {"octaves": config.octaves, "bound": config.bound, "dropout": self.dropout}
        self.encoder = GaussianNetwork(d, self.latent, config.hidden, **options)
        self.decoder = GaussianNetwork(self.latent, d, config.hidden, **options)

    def divergence(self, posterior: Gaussian, z: Tensor) -> Tensor:
        """KL(q(z | x) | p(z)), `(n,)`; `z` is drawn from the posterior, for priors without a closed form."""
        return divergence_from_prior(posterior)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), `(n,)`."""
        return log_normal(z, (torch.zeros_like(z), torch.zeros_like(z)))

    def sample_prior(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` latents z ~ p(z), `(n, latent)`."""
        return torch.randn((n, self.latent), generator=generator, device=generator.device)

    def negative_elbo(self, x: Tensor, weight: float, generator: torch.Generator) -> Tensor:
        """Minus the ELBO at one draw of z, its divergence weighted (Kingma & Welling 2014, eq. 7)."""
        posterior = self.encoder(x)
        z = reparametrize(posterior, standard_normal(posterior[0], generator))
        return (weight * self.divergence(posterior, z) - log_normal(x, self.decoder(z))).mean()

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """Minus the ELBO, the weight of its divergence rising in the warm-up (Bowman et al. 2016, section 3.1).

        Without it the decoder's own variance explains everything first, and the latent stays unused.
        """
        progress = 1.0 if ctx.clock is None else ctx.clock.progress
        weight = min(1.0, progress / self.config.warmup) if self.config.warmup else 1.0
        return self.negative_elbo(x, weight, ctx.generator)

    def validation_loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return self.negative_elbo(x, 1.0, ctx.generator)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        likelihood = self.decoder(self.sample_prior(n, ctx.generator))
        return reparametrize(likelihood, standard_normal(likelihood[0], ctx.generator))

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The importance-weighted bound with K = `samples` (Burda et al. 2016, eq. 8)."""
        options = ctx.likelihood
        assert isinstance(options, Vae.Likelihood)
        ctx.details["importance_samples"] = options.samples
        posterior = self.encoder(x)
        weights = []
        for _ in range(options.samples):
            z = reparametrize(posterior, standard_normal(posterior[0], ctx.generator))
            weights.append(log_normal(x, self.decoder(z)) + self.log_prior(z) - log_normal(z, posterior))
        return importance_bound(torch.stack(weights))
