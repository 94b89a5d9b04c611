"""The plugin module of the built-in models and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trilemma import hookimpl

if TYPE_CHECKING:
    from trilemma import Metric, Model


@hookimpl
def trilemma_models() -> list[type[Model]]:
    """The built-in models, controls first."""
    from trilemma.plugins.controls.gaussian import Gaussian
    from trilemma.plugins.controls.gmm import GaussianMixture
    from trilemma.plugins.controls.kde import KernelDensity
    from trilemma.plugins.controls.memorizer import Memorizer
    from trilemma.plugins.controls.oracle import Oracle
    from trilemma.plugins.flows import FLOWS
    from trilemma.plugins.implicit import IMPLICIT
    from trilemma.plugins.score_based import SCORE_BASED

    return [Oracle, Memorizer, Gaussian, GaussianMixture, KernelDensity, *FLOWS, *SCORE_BASED, *IMPLICIT]


@hookimpl
def trilemma_metrics() -> list[type[Metric]]:
    """The built-in metrics."""
    from trilemma.plugins.metrics import METRICS

    return list(METRICS)
