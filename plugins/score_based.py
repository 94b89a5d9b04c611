"""The score-based models that are registered."""

from __future__ import annotations

from trilemma.plugins.ddpm.ddpm import Ddpm
from trilemma.plugins.edm.edm import Edm
from trilemma.plugins.edm.unet import EdmUnet
from trilemma.plugins.flow_matching.flow_matching import FlowMatching, OtFlowMatching, RectifiedFlow
from trilemma.plugins.langevin.control import LangevinMonteCarlo
from trilemma.plugins.ncsn.ncsn import Ncsn, NcsnV2
from trilemma.plugins.score_matching.score_matching import EnergyMatching, ScoreMatching
from trilemma.plugins.score_sde.sde import SubVpSde, VeSde, VpSde

SCORE_BASED = (
    LangevinMonteCarlo,
    ScoreMatching,
    EnergyMatching,
    Ncsn,
    NcsnV2,
    Ddpm,
    VeSde,
    VpSde,
    SubVpSde,
    Edm,
    EdmUnet,
    FlowMatching,
    OtFlowMatching,
    RectifiedFlow,
)
