"""The variational autoencoder (Kingma & Welling 2014)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import trilemma

from ..flows.base import StandardNormal
from ..flows.flow import Flow
from ..flows.maf import IAF
from ..flows.realnvp import RealNVP
from .autoencoder import Autoencoder, AutoencoderConfig


class Vae(Autoencoder):
    """Variational autoencoder (Kingma & Welling 2014) on vectors and flattened images.

    The encoder and the decoder are MLPs that give a mean and a standard deviation for each coordinate, so the variance
    of the decoder is learned too. The prior is N(0, I) or a flow that is trained jointly (RealNVP or IAF). The
    posterior is a diagonal Gaussian, or a flow from it: planar (Rezende & Mohamed 2015), Sylvester (van den Berg et al.
    2018) or inverse autoregressive (Kingma et al. 2016). The likelihood is a lower bound on the log-density, from
    importance samples.

    Deviations from the paper of 2014: Fourier features of the inputs, a warm-up of the weight of the divergence
    (Bowman et al. 2016; Rezende & Mohamed warm up the temperature instead), a soft clip of the log-deviations. The
    Sylvester layers use Householder reflections, one of three forms of Q in the paper. The layers of the inverse
    autoregressive posterior have one hidden layer.
    """

    name = "vae"
    recipe = trilemma.Recipe(lr=3e-3, batch_size=512, schedule="cosine", ema=0.998)

    class Config(AutoencoderConfig):
        """Architecture of the autoencoder, and the families of its prior and posterior."""

        prior: Literal["normal", "realnvp", "iaf"] = Field(
            "normal", description="distribution of the latents: N(0, I), or a flow that is trained jointly"
        )
        prior_transforms: int = Field(4, ge=2, description="layers of a flow prior")
        prior_hidden: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of a flow prior")

    def make_prior(self, info: trilemma.DataInfo) -> Flow:
        config = self.config
        if config.prior == "normal":
            return Flow([], StandardNormal((self.latent,)))
        latents = trilemma.DataInfo(name="latents", kind="vector", shape=(self.latent,), n_train=info.n_train)
        options = {
            "transforms": config.prior_transforms,
            "hidden": config.prior_hidden,
            "octaves": 0,
            "dropout": self.dropout,
        }
        if config.prior == "iaf":
            return IAF(IAF.Config(**options)).make(latents)
        return RealNVP(RealNVP.Config(**options)).make(latents)
