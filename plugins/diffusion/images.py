"""The forms for images of the diffusion models: the same methods with a small convolutional U-Net.

Each is made of the model for vectors, a mixin for images, and options that hold those of a U-Net instead of an MLP.
`edm-unet`, which has a head of its own, is defined beside `edm`.
"""

from __future__ import annotations

from pydantic import Field

from ..networks.unet import UNET_RECIPE, UNetConfig
from .ddpm import BoundLikelihood, ChainOptions, Ddpm
from .flow_matching import FlowMatching, InterpolantOptions
from .langevin_samplers import ImprovedAnnealedLangevin, Langevin
from .model import OdeDensityOnImages, OnImages
from .ncsn import Ncsn, NcsnOptions, NcsnV2Options
from .paired_flows import PAIRED_UNET_RECIPE, OtFlowMatching, PairingOptions, RectifiedFlow, ReflowOptions
from .score_sde import SubVpOptions, SubVpSde, VeOptions, VeSde, VpOptions, VpSde


class NcsnUnet(OnImages, Ncsn):
    """NCSN (Song & Ermon 2019) with a small U-Net, on images of 8 to 32 pixels a side; otherwise like `ncsn`."""

    name = "ncsn-unet"
    recipe = UNET_RECIPE.model_copy(update={"ema": None})

    class Config(NcsnOptions, UNetConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""


class NcsnV2Unet(OnImages, Ncsn):
    """NCSNv2 (Song & Ermon 2020) with a small U-Net, on images of 8 to 32 pixels a side; otherwise like `ncsnv2`."""

    name = "ncsnv2-unet"
    samplers = (ImprovedAnnealedLangevin, Langevin)
    recipe = UNET_RECIPE.model_copy(update={"ema": 0.999})

    class Config(NcsnV2Options, UNetConfig):
        """Options of the network, of the noise levels and of the techniques of NCSNv2."""


class DdpmUnet(OnImages, Ddpm):
    """DDPM (Ho et al. 2020) with a small U-Net, on images of 8 to 32 pixels a side; otherwise like `ddpm`.

    The chain has 1,000 steps as in the paper, because the bound of a shorter chain is looser. The schedule `cosine`
    trains more on low noise levels. Samplers use 100 of the steps unless told otherwise (paper: all). The bound is
    estimated from 200 steps for each image. As it is a bound, its table is not that of the likelihoods by the
    probability-flow ODE.
    """

    name = "ddpm-unet"

    class Config(ChainOptions, UNetConfig):
        """Options of the network, of the chain of noise levels and of the loss."""

        steps: int = Field(1_000, ge=2, description="number of steps T of the chain")

    class Likelihood(BoundLikelihood):
        """Options of the variational bound."""

        sampled_steps: int | None = Field(
            200,
            ge=1,
            description="number of steps of the chain, drawn for each point, by whose terms the bound is estimated "
            "without bias; none: all",
        )


class VeSdeUnet(OdeDensityOnImages, VeSde):
    """The VE SDE (Song et al. 2021) with a small U-Net, on images of 8 to 32 pixels a side; otherwise like `ve-sde`."""

    name = "ve-sde-unet"

    class Config(VeOptions, UNetConfig):
        """Options of the network, of the loss and of the diffusion."""


class VpSdeUnet(OdeDensityOnImages, VpSde):
    """The VP SDE (Song et al. 2021) with a small U-Net, on images of 8 to 32 pixels a side; otherwise like `vp-sde`."""

    name = "vp-sde-unet"

    class Config(VpOptions, UNetConfig):
        """Options of the network, of the loss and of the diffusion."""


class SubVpSdeUnet(OdeDensityOnImages, SubVpSde):
    """The sub-VP SDE (Song et al. 2021) with a small U-Net, on images of 8 to 32 pixels a side.

    Otherwise it is like `subvp-sde`.
    """

    name = "subvp-sde-unet"

    class Config(SubVpOptions, UNetConfig):
        """Options of the network, of the loss and of the diffusion."""


class FlowMatchingUnet(OdeDensityOnImages, FlowMatching):
    """Flow matching (Lipman et al. 2023) with a small U-Net, on images of 8 to 32 pixels a side.

    Otherwise it is like `flow-matching`.
    """

    name = "flow-matching-unet"

    class Config(InterpolantOptions, UNetConfig):
        """Options of the network and of the path."""


class OtFlowMatchingUnet(OdeDensityOnImages, OtFlowMatching):
    """Flow matching on pairs from minibatch optimal transport (Tong et al. 2024) with a small U-Net, on images.

    Images have 8 to 32 pixels a side. Otherwise it is like `ot-flow-matching`.
    """

    name = "ot-flow-matching-unet"
    recipe = PAIRED_UNET_RECIPE

    class Config(PairingOptions, UNetConfig):
        """Options of the network, of the path and of the pairing."""


class RectifiedFlowUnet(OdeDensityOnImages, RectifiedFlow):
    """Rectified flow (Liu et al. 2023) with a small U-Net, on images of 8 to 32 pixels a side.

    Otherwise it is like `rectified-flow`.
    """

    name = "rectified-flow-unet"
    recipe = PAIRED_UNET_RECIPE
    part = 100  # a step with 2000 images would take as long as a short budget

    class Config(ReflowOptions, UNetConfig):
        """Options of the network, of the path and of the reflow."""
