"""A variational autoencoder whose prior is an autoregressive flow."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

import trilemma
from trilemma.plugins.flows.autoregressive import autoregressive_stack
from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.conditioners import Perceptron
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.model import dropout_for
from trilemma.plugins.flows.spline import rational_quadratic
from trilemma.plugins.flows.transforms import soft_clip
from trilemma.plugins.networks import SILU_GAIN

START_LOG_SCALE = -2.5
"""Log-scale of encoder and decoder before training.

A decoder that starts as wide as the data is best served by a posterior equal to the prior: coordinates stay collapsed.
"""


def normal_log_prob(x: Tensor, params: Tensor, bound: float) -> Tensor:
    """log N(x; mean, exp(s)^2) summed over coordinates; `params` (2, d, n): mean, and s before a soft clip."""
    mean, raw = params
    log_scale = soft_clip(raw, bound)
    terms = ((x.T - mean) * (-log_scale).exp()).square() + 2 * log_scale + math.log(2 * math.pi)
    value: Tensor = -0.5 * terms.sum(0)
    return value


@torch.no_grad()
def _start_at(network: Perceptron, log_scale: float, bound: float) -> None:
    """Give the log-scales that a network puts out this mean; `bound` is that of their soft clip."""
    _, raw = network.offset.reshape(2, -1)
    raw.fill_(log_scale / (1 - abs(log_scale) / bound))


class FlowPriorVAE(trilemma.NeuralModel):
    """VAE with an autoregressive flow as prior, the prior of the variational lossy autoencoder (Chen et al. 2017).

    The flow has rational-quadratic splines (Durkan et al. 2019). The decoder gives a diagonal Gaussian for each latent.
    Its log-density is a lower bound from importance samples.
    """

    name = "vlae"
    likelihood = "bound"
    image_space = "logit"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(trilemma.Config):
        """Architecture of the autoencoder."""

        latent: int = Field(16, ge=1, description="latent coordinates, at most twice those of the data")
        hidden: tuple[int, ...] = Field((128, 128), description="widths of the encoder's and decoder's hidden layers")
        octaves: int = Field(2, ge=0, description="octaves of Fourier features of each coordinate")
        transforms: int = Field(2, ge=0, description="autoregressive layers of the prior; 0 is N(0, I)")
        bins: int = Field(16, ge=2, description="bins of the prior's splines, which act on [-4, 4]")
        prior_hidden: tuple[int, ...] = Field((64, 64), description="widths of the prior's hidden layers")
        bound: float = Field(6.0, gt=-START_LOG_SCALE, description="largest absolute log-scale of encoder and decoder")
        dropout: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="dropout in the networks; by default 0.2 below 100 training points per coordinate, else 0",
        )

    class Density(trilemma.Config):
        """How the bound is computed."""

        samples: int = Field(64, ge=1, description="importance samples: 1 is the ELBO, more tighten the bound")

    def build(self, info: trilemma.DataInfo) -> None:
        config, d = self.config, info.dim
        latent = min(config.latent, 2 * d)
        dropout = dropout_for(info, config.dropout, 0.2)
        self.encoder = Perceptron(
            d, latent, 2, config.hidden, octaves=config.octaves, dropout=dropout, last_gain=SILU_GAIN / 2
        )
        self.decoder = Perceptron(
            latent, d, 2, config.hidden, octaves=config.octaves, dropout=dropout, last_gain=SILU_GAIN / 2
        )
        for network in (self.encoder, self.decoder):
            _start_at(network, START_LOG_SCALE, config.bound)
        elementwise = rational_quadratic(config.bins, 4.0)
        layers = autoregressive_stack(latent, config.transforms, elementwise, config.prior_hidden, dropout=dropout)
        self.prior = Flow(layers, StandardNormal((latent,)))

    def bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """log p(x | z) + log p(z) - log q(z | x) with z drawn by `noise` (n, latent): its mean is the ELBO (eq. 1)."""
        params = self.encoder(x)
        mean, raw = params
        z = (mean + soft_clip(raw, self.config.bound).exp() * noise.T).T
        log_q = normal_log_prob(z, params, self.config.bound)
        return normal_log_prob(x, self.decoder(z), self.config.bound) + self.prior.log_prob(z) - log_q

    def _noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        shape = (len(x), self.encoder.n_out)
        return torch.randn(shape, generator=generator, device=generator.device, dtype=x.dtype)

    def loss(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        return -self.bound(x, self._noise(x, ctx.generator)).mean()

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = self.prior.sample(n, ctx.generator)[0]
        mean, raw = self.decoder(z)
        noise = torch.randn((n, len(mean)), generator=ctx.generator, device=ctx.generator.device)
        value: Tensor = mean.T + soft_clip(raw, self.config.bound).exp().T * noise
        return value

    @torch.no_grad()
    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        """The importance-weighted bound log (1/K) sum_k w_k (Burda et al. 2016, eq. 8)."""
        options = ctx.density if isinstance(ctx.density, self.Density) else self.Density()
        ctx.details["importance_samples"] = options.samples
        weights = [self.bound(x, self._noise(x, ctx.generator)) for _ in range(options.samples)]
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(options.samples)
