"""A variational autoencoder whose prior is an autoregressive flow."""

from __future__ import annotations

from pydantic import Field

import trilemma

from ..flows.autoregressive import autoregressive_stack
from ..flows.base import StandardNormal
from ..flows.flow import Flow
from ..flows.fused import FusedMasked
from ..flows.fused_maps import fused_rational_quadratic
from .autoencoder import Autoencoder, AutoencoderConfig


class FlowPriorVAE(Autoencoder):
    """Variational autoencoder with an autoregressive flow as prior, as in the lossy autoencoder (Chen et al. 2017).

    The likelihood is a lower bound on the log-density, from importance samples.

    Deviations from the paper: the layers of the prior are rational-quadratic splines (Durkan et al. 2019) instead of
    affine maps, and the decoder gives an independent Gaussian for each coordinate instead of an autoregressive
    distribution. So only the prior of the paper is kept, not its limit on what the decoder may model (section 3.1).
    """

    name = "vlae"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=512, schedule="onecycle", ema=0.998)

    class Config(AutoencoderConfig):
        """Architecture of the autoencoder and its prior, and the family of its posterior."""

        transforms: int = Field(2, ge=0, description="autoregressive layers of the prior; 0 is N(0, I)")
        bins: int = Field(16, ge=2, description="bins of the prior's splines, which act on [-4, 4]")
        prior_hidden: tuple[int, ...] = Field((64, 64), description="widths of the prior's hidden layers")

    def make_prior(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        elementwise = fused_rational_quadratic(config.bins, 4.0)
        layers = autoregressive_stack(
            self.latent, config.transforms, elementwise, config.prior_hidden, FusedMasked, dropout=self.dropout
        )
        return Flow(layers, StandardNormal((self.latent,)))
