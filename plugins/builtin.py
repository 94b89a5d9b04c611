"""The plugin module of the built-in models and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trilemma import hookimpl

if TYPE_CHECKING:
    from trilemma import Metric, Model


@hookimpl
def trilemma_models() -> list[type[Model]]:
    """The built-in models, controls first."""
    from .cold_diffusion.images import ColdBlur, ColdDownsample, ColdMask
    from .cold_diffusion.inverse_heat import InverseHeat
    from .cold_diffusion.vectors import ColdFade, ColdMorph
    from .controls.gaussian import Gaussian
    from .controls.gmm import GaussianMixture
    from .controls.kde import KernelDensity
    from .controls.langevin import LangevinMonteCarlo
    from .controls.memorizer import Memorizer
    from .controls.oracle import Oracle
    from .diffusion.ddpm import Ddpm
    from .diffusion.edm import Edm, EdmUnet
    from .diffusion.flow_matching import FlowMatching
    from .diffusion.ncsn import Ncsn, NcsnV2
    from .diffusion.paired_flows import OtFlowMatching, RectifiedFlow
    from .diffusion.score_matching import EnergyMatching, ScoreMatching
    from .diffusion.score_sde import SubVpSde, VeSde, VpSde
    from .flows import FLOWS
    from .gan.ddgan import Ddgan, DdganUnet
    from .gan.gan import Gan, GanUnet
    from .sobolev_descent.sobolev_descent import SobolevDescent, UnbalancedSobolevDescent
    from .vae.vae import Vae
    from .vae.vlae import FlowPriorVAE

    controls = [Oracle, Memorizer, Gaussian, GaussianMixture, KernelDensity, LangevinMonteCarlo]
    score_based = [
        *(ScoreMatching, EnergyMatching, Ncsn, NcsnV2, Ddpm, VeSde, VpSde, SubVpSde, Edm, EdmUnet),
        *(FlowMatching, OtFlowMatching, RectifiedFlow),
    ]
    restoration = [ColdMorph, ColdFade, ColdBlur, ColdMask, ColdDownsample, InverseHeat]
    descents = [SobolevDescent, UnbalancedSobolevDescent]
    adversarial = [Ddgan, DdganUnet, Gan, GanUnet]
    return [*controls, *FLOWS, *score_based, *restoration, *descents, *adversarial, Vae, FlowPriorVAE]


@hookimpl
def trilemma_metrics() -> list[type[Metric]]:
    """The built-in metrics."""
    from .metrics import METRICS

    return list(METRICS)
