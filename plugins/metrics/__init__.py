"""The built-in metrics. The mathematics is in pure functions with keyword-only arguments."""

from __future__ import annotations

import trilemma
from trilemma.plugins.metrics.alpha_precision import AlphaPrecision
from trilemma.plugins.metrics.c2st import C2st
from trilemma.plugins.metrics.cost import SamplingCost, TrainingCost
from trilemma.plugins.metrics.frechet import Frechet
from trilemma.plugins.metrics.kde_nll import KdeNll
from trilemma.plugins.metrics.kernels import Energy, Mmd
from trilemma.plugins.metrics.memorisation import Memorisation
from trilemma.plugins.metrics.modes import ModeCoverage
from trilemma.plugins.metrics.nll import Nll
from trilemma.plugins.metrics.precision_recall import PrecisionRecall
from trilemma.plugins.metrics.score_error import ScoreError
from trilemma.plugins.metrics.sinkhorn import Sinkhorn
from trilemma.plugins.metrics.tabular import Tabular
from trilemma.plugins.metrics.wasserstein import SlicedWasserstein, Wasserstein, Wasserstein1

METRICS: tuple[type[trilemma.Metric], ...] = (
    Nll,
    KdeNll,
    ScoreError,
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
    Memorisation,
    SamplingCost,
    TrainingCost,
)
