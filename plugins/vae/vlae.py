"""A variational autoencoder whose prior is an autoregressive flow."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

import trilemma

from ..flows.autoregressive import autoregressive_stack
from ..flows.base import StandardNormal
from ..flows.flow import Flow
from ..flows.fused import FusedMasked
from ..flows.fused_maps import fused_rational_quadratic
from .elbo import Gaussian, log_normal
from .vae import Vae


class FlowPriorVAE(Vae):
    """Variational autoencoder with an autoregressive flow as prior, as in the lossy autoencoder (Chen et al. 2017).

    The flow uses rational-quadratic splines (Durkan et al. 2019). The decoder gives a diagonal Gaussian for each
    latent. The likelihood is a lower bound on the log-density, from importance samples.
    """

    name = "vlae"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(Vae.Config):
        """Architecture of the autoencoder and its prior."""

        transforms: int = Field(2, ge=0, description="autoregressive layers of the prior; 0 is N(0, I)")
        bins: int = Field(16, ge=2, description="bins of the prior's splines, which act on [-4, 4]")
        prior_hidden: tuple[int, ...] = Field((64, 64), description="widths of the prior's hidden layers")

    def build(self, info: trilemma.DataInfo) -> None:
        super().build(info)
        config = self.config
        elementwise = fused_rational_quadratic(config.bins, 4.0)
        layers = autoregressive_stack(
            self.latent, config.transforms, elementwise, config.prior_hidden, FusedMasked, dropout=self.dropout
        )
        self.prior = Flow(layers, StandardNormal((self.latent,)))

    def divergence(self, posterior: Gaussian, z: Tensor) -> Tensor:
        """log q(z | x) - log p(z) at one draw of z, `(n,)`. Its mean is the divergence (Chen et al. 2017, eq. 1)."""
        return log_normal(z, posterior) - self.prior.log_prob(z)

    def log_prior(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z)

    def sample_prior(self, n: int, generator: torch.Generator) -> Tensor:
        return self.prior.sample(n, generator)[0]
