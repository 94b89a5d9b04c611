"""The built-in metrics. The mathematics is in pure functions with keyword-only arguments."""

from __future__ import annotations

import trilemma
from trilemma.plugins.metrics.c2st import C2st
from trilemma.plugins.metrics.cost import SamplingCost, TrainingCost
from trilemma.plugins.metrics.kernels import Energy, Mmd
from trilemma.plugins.metrics.memorisation import Memorisation
from trilemma.plugins.metrics.modes import ModeCoverage
from trilemma.plugins.metrics.nll import Nll
from trilemma.plugins.metrics.precision_recall import PrecisionRecall
from trilemma.plugins.metrics.wasserstein import SlicedWasserstein, Wasserstein

METRICS: tuple[type[trilemma.Metric], ...] = (
    Nll,
    Wasserstein,
    SlicedWasserstein,
    Energy,
    Mmd,
    PrecisionRecall,
    ModeCoverage,
    C2st,
    Memorisation,
    SamplingCost,
    TrainingCost,
)
