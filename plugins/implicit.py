"""The built-in models whose first purpose is to draw samples: cold diffusion, descent, adversarial models, the VAE."""

from __future__ import annotations

from trilemma.plugins.cold_diffusion.images import ColdBlur, ColdDownsample, ColdMask
from trilemma.plugins.cold_diffusion.vectors import ColdFade, ColdMorph
from trilemma.plugins.ddgan.ddgan import Ddgan
from trilemma.plugins.ddgan.unet import DdganUnet
from trilemma.plugins.gan.gan import Gan, GanUnet
from trilemma.plugins.inverse_heat.inverse_heat import InverseHeat
from trilemma.plugins.sobolev_descent.sobolev_descent import SobolevDescent, UnbalancedSobolevDescent
from trilemma.plugins.vae.vae import Vae
from trilemma.plugins.vae.vlae import FlowPriorVAE

IMPLICIT = (
    ColdMorph,
    ColdFade,
    ColdBlur,
    ColdMask,
    ColdDownsample,
    InverseHeat,
    SobolevDescent,
    UnbalancedSobolevDescent,
    Ddgan,
    DdganUnet,
    Gan,
    GanUnet,
    Vae,
    FlowPriorVAE,
)
