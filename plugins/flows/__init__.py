"""Normalizing flows: invertible maps with an exact density."""

from trilemma.plugins.flows.cnf import ContinuousFlow
from trilemma.plugins.flows.glow import Glow
from trilemma.plugins.flows.maf import IAF, MAF
from trilemma.plugins.flows.multiscale import MultiscaleGlow
from trilemma.plugins.flows.nice import NICE
from trilemma.plugins.flows.nsf import AutoregressiveSpline, CouplingSpline
from trilemma.plugins.flows.planar import PlanarFlow, RadialFlow
from trilemma.plugins.flows.rad import RAD
from trilemma.plugins.flows.realnvp import RealNVP
from trilemma.plugins.flows.sylvester import SylvesterFlow

FLOWS = (
    PlanarFlow,
    RadialFlow,
    SylvesterFlow,
    NICE,
    RealNVP,
    Glow,
    MultiscaleGlow,
    MAF,
    IAF,
    CouplingSpline,
    AutoregressiveSpline,
    RAD,
    ContinuousFlow,
)
"""The flows that are registered."""
