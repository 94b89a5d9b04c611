"""trilemma: which generative model should I use, and what does it cost me?

Everything a plugin author or a notebook needs is an attribute of this module. Attributes load on first use,
so that `import trilemma` (and `trilemma --help`) is fast and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trilemma.harness.aggregates import interquartile_mean as interquartile_mean
    from trilemma.harness.aggregates import performance_profile as performance_profile
    from trilemma.harness.aggregates import probability_of_improvement as probability_of_improvement
    from trilemma.harness.aggregates import stratified_interval as stratified_interval
    from trilemma.harness.api import load_results as load_results
    from trilemma.harness.api import run as run
    from trilemma.harness.budget import Budget as Budget
    from trilemma.harness.budget import Clock as Clock
    from trilemma.harness.config import Config as Config
    from trilemma.harness.conformance import Check as Check
    from trilemma.harness.conformance import CheckResult as CheckResult
    from trilemma.harness.conformance import conformance_checks as conformance_checks
    from trilemma.harness.dataset import Card as Card
    from trilemma.harness.dataset import Dataset as Dataset
    from trilemma.harness.dataset import Law as Law
    from trilemma.harness.dataset import LawConfig as LawConfig
    from trilemma.harness.dataset import Modes as Modes
    from trilemma.harness.dataset import Splits as Splits
    from trilemma.harness.errors import DataError as DataError
    from trilemma.harness.errors import DivergedError as DivergedError
    from trilemma.harness.errors import PluginError as PluginError
    from trilemma.harness.errors import StoreError as StoreError
    from trilemma.harness.errors import SuiteError as SuiteError
    from trilemma.harness.errors import TrilemmaError as TrilemmaError
    from trilemma.harness.errors import UnsupportedError as UnsupportedError
    from trilemma.harness.evaluation import Evaluation as Evaluation
    from trilemma.harness.hookspecs import hookimpl as hookimpl
    from trilemma.harness.metric import Metric as Metric
    from trilemma.harness.model import Context as Context
    from trilemma.harness.model import DataInfo as DataInfo
    from trilemma.harness.model import Direct as Direct
    from trilemma.harness.model import Model as Model
    from trilemma.harness.model import NeuralModel as NeuralModel
    from trilemma.harness.model import Sampler as Sampler
    from trilemma.harness.model import Split as Split
    from trilemma.harness.model import Truth as Truth
    from trilemma.harness.model import Update as Update
    from trilemma.harness.paired import PairedComparison as PairedComparison
    from trilemma.harness.paired import compare_paired as compare_paired
    from trilemma.harness.pareto import front_membership as front_membership
    from trilemma.harness.pareto import on_front as on_front
    from trilemma.harness.ranks import MeanRanks as MeanRanks
    from trilemma.harness.ranks import mean_ranks as mean_ranks
    from trilemma.harness.recipe import Recipe as Recipe
    from trilemma.harness.report import ReportSection as ReportSection
    from trilemma.harness.report import RunView as RunView
    from trilemma.harness.report import Section as Section
    from trilemma.harness.report import report_sections as report_sections
    from trilemma.harness.results import Result as Result
    from trilemma.harness.statistics import mean_interval as mean_interval
    from trilemma.harness.store import claim_directory as claim_directory
    from trilemma.harness.summary import summary_rows as summary_rows
    from trilemma.harness.summary import uniform_frame as uniform_frame

__version__ = "0.1.0"

# attribute -> the module of the harness that owns it
_PUBLIC = {
    "Budget": "budget",
    "Card": "dataset",
    "Check": "conformance",
    "CheckResult": "conformance",
    "Clock": "budget",
    "Config": "config",
    "Context": "model",
    "DataError": "errors",
    "DataInfo": "model",
    "Dataset": "dataset",
    "Direct": "model",
    "DivergedError": "errors",
    "Evaluation": "evaluation",
    "Law": "dataset",
    "LawConfig": "dataset",
    "MeanRanks": "ranks",
    "Metric": "metric",
    "Model": "model",
    "Modes": "dataset",
    "NeuralModel": "model",
    "PairedComparison": "paired",
    "PluginError": "errors",
    "Recipe": "recipe",
    "ReportSection": "report",
    "Result": "results",
    "RunView": "report",
    "Sampler": "model",
    "Section": "report",
    "Split": "model",
    "Splits": "dataset",
    "StoreError": "errors",
    "SuiteError": "errors",
    "TrilemmaError": "errors",
    "Truth": "model",
    "UnsupportedError": "errors",
    "Update": "model",
    "claim_directory": "store",
    "compare_paired": "paired",
    "conformance_checks": "conformance",
    "front_membership": "pareto",
    "hookimpl": "hookspecs",
    "interquartile_mean": "aggregates",
    "load_results": "api",
    "mean_interval": "statistics",
    "mean_ranks": "ranks",
    "on_front": "pareto",
    "performance_profile": "aggregates",
    "probability_of_improvement": "aggregates",
    "report_sections": "report",
    "run": "api",
    "stratified_interval": "aggregates",
    "summary_rows": "summary",
    "uniform_frame": "summary",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'trilemma' has no attribute {name!r}")
    value = getattr(import_module(f"trilemma.harness.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
