"""The built-in metrics. The mathematics is in pure functions with keyword-only arguments."""

from __future__ import annotations

import trilemma

from .alpha_precision import AlphaPrecision
from .c2st import C2st
from .cost import SamplingCost, TrainingCost
from .frechet import Frechet
from .kde_nll import KdeNll
from .kernels import Energy, Mmd
from .likelihood.nll import Nll
from .memorization import Memorization
from .modes import ModeCoverage
from .precision_recall import PrecisionRecall
from .sampling_time import SamplingTime
from .score_error import ScoreError
from .sinkhorn import Sinkhorn
from .tabular import Tabular
from .wasserstein import SlicedWasserstein, Wasserstein, Wasserstein1
from .witness_energy import WitnessEnergy

METRICS: tuple[type[trilemma.Metric], ...] = (
    Nll,
    KdeNll,
    ScoreError,
    WitnessEnergy,
    Wasserstein,
    Wasserstein1,
    SlicedWasserstein,
    Sinkhorn,
    Energy,
    Mmd,
    PrecisionRecall,
    AlphaPrecision,
    ModeCoverage,
    Tabular,
    C2st,
    Frechet,
    Memorization,
    SamplingCost,
    SamplingTime,
    TrainingCost,
)
