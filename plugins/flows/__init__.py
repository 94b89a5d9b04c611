"""Normalizing flows: invertible maps between data and a base distribution, with a density."""

from .cnf import ContinuousFlow
from .glow import Glow
from .maf import IAF, MAF
from .multiscale import MultiscaleGlow
from .nice import NICE
from .nsf import AutoregressiveSpline, CouplingSpline
from .planar import PlanarFlow, RadialFlow
from .rad import RAD
from .realnvp import RealNVP
from .sylvester import SylvesterFlow

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
