"""trilemma: which generative model should I use, and what does it cost me?

trilemma is a benchmark harness for generative models. Everything that a plugin or a notebook needs is an attribute of
this module. Attributes load on first use, so `import trilemma` and `trilemma --help` are fast and do not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trilemma.harness.analysis.aggregates import interquartile_mean as interquartile_mean
    from trilemma.harness.analysis.aggregates import probability_of_improvement as probability_of_improvement
    from trilemma.harness.analysis.aggregates import stratified_interval as stratified_interval
    from trilemma.harness.analysis.answers import Answer as Answer
    from trilemma.harness.analysis.answers import answers as answers
    from trilemma.harness.analysis.arenas import deciding_metric as deciding_metric
    from trilemma.harness.analysis.citations import Citations as Citations
    from trilemma.harness.analysis.citations import citations as citations
    from trilemma.harness.analysis.frames import uniform_frame as uniform_frame
    from trilemma.harness.analysis.frames import without_drawings as without_drawings
    from trilemma.harness.analysis.overall import overall as overall
    from trilemma.harness.analysis.pareto import front_membership as front_membership
    from trilemma.harness.analysis.pareto import on_front as on_front
    from trilemma.harness.analysis.repeats import Repeat as Repeat
    from trilemma.harness.analysis.repeats import repeats as repeats
    from trilemma.harness.analysis.run_changes import RunChanges as RunChanges
    from trilemma.harness.analysis.run_changes import compare_runs as compare_runs
    from trilemma.harness.analysis.statistics import mean_interval as mean_interval
    from trilemma.harness.analysis.summary import Judged as Judged
    from trilemma.harness.analysis.summary import judge as judge
    from trilemma.harness.analysis.summary import metrics_in_order as metrics_in_order
    from trilemma.harness.analysis.summary import summary_rows as summary_rows
    from trilemma.harness.analysis.verdicts import compare as compare
    from trilemma.harness.analysis.verdicts import verdicts as verdicts
    from trilemma.harness.analysis.view import RunView as RunView
    from trilemma.harness.analysis.view import report_sections as report_sections
    from trilemma.harness.api import load_results as load_results
    from trilemma.harness.api import merge as merge
    from trilemma.harness.api import run as run
    from trilemma.harness.boundary import boundary as boundary
    from trilemma.harness.boundary import described as described
    from trilemma.harness.claims.verdicts import claims as claims
    from trilemma.harness.claims.wording import claim_finding as claim_finding
    from trilemma.harness.claims.wording import claim_source as claim_source
    from trilemma.harness.claims.wording import claim_tally as claim_tally
    from trilemma.harness.conformance.checks import Check as Check
    from trilemma.harness.conformance.checks import CheckResult as CheckResult
    from trilemma.harness.conformance.checks import conformance_checks as conformance_checks
    from trilemma.harness.conformance.checks import parametrize_with_checks as parametrize_with_checks
    from trilemma.harness.contracts.budget import Budget as Budget
    from trilemma.harness.contracts.budget import Clock as Clock
    from trilemma.harness.contracts.config import Config as Config
    from trilemma.harness.contracts.dataset import Card as Card
    from trilemma.harness.contracts.dataset import Dataset as Dataset
    from trilemma.harness.contracts.dataset import Distribution as Distribution
    from trilemma.harness.contracts.dataset import DistributionConfig as DistributionConfig
    from trilemma.harness.contracts.dataset import Modes as Modes
    from trilemma.harness.contracts.dataset import Splits as Splits
    from trilemma.harness.contracts.hookspecs import hookimpl as hookimpl
    from trilemma.harness.contracts.metric import Metric as Metric
    from trilemma.harness.contracts.model import Context as Context
    from trilemma.harness.contracts.model import DataInfo as DataInfo
    from trilemma.harness.contracts.model import Direct as Direct
    from trilemma.harness.contracts.model import Model as Model
    from trilemma.harness.contracts.model import Sampler as Sampler
    from trilemma.harness.contracts.model import Split as Split
    from trilemma.harness.contracts.model import Truth as Truth
    from trilemma.harness.contracts.observer import Observer as Observer
    from trilemma.harness.contracts.recipe import Recipe as Recipe
    from trilemma.harness.contracts.result import COSTS as COSTS
    from trilemma.harness.contracts.result import GROUPS as GROUPS
    from trilemma.harness.contracts.result import LIKELIHOOD_KINDS as LIKELIHOOD_KINDS
    from trilemma.harness.contracts.result import Quantity as Quantity
    from trilemma.harness.contracts.result import Result as Result
    from trilemma.harness.contracts.section import ReportSection as ReportSection
    from trilemma.harness.contracts.section import Section as Section
    from trilemma.harness.errors import DataError as DataError
    from trilemma.harness.errors import DivergedError as DivergedError
    from trilemma.harness.errors import PluginError as PluginError
    from trilemma.harness.errors import StoreError as StoreError
    from trilemma.harness.errors import SuiteError as SuiteError
    from trilemma.harness.errors import TrilemmaError as TrilemmaError
    from trilemma.harness.errors import UnsupportedError as UnsupportedError
    from trilemma.harness.evaluation.evaluation import Evaluation as Evaluation
    from trilemma.harness.store.claim import claim_directory as claim_directory
    from trilemma.harness.store.csv_text import csv_text as csv_text
    from trilemma.harness.store.merged_records import Merged as Merged
    from trilemma.harness.text import printable as printable
    from trilemma.harness.text import short_paths as short_paths
    from trilemma.harness.trained.model import TrainedModel as TrainedModel
    from trilemma.harness.trained.model import load_model as load_model
    from trilemma.harness.training.neural import NeuralModel as NeuralModel
    from trilemma.harness.training.neural import Update as Update
    from trilemma.harness.tuning.api import tune as tune
    from trilemma.harness.tuning.record import Tuned as Tuned

__version__ = "0.2.0"

# attribute -> the module of the harness that owns it
_PUBLIC = {
    "Answer": "analysis.answers",
    "Budget": "contracts.budget",
    "COSTS": "contracts.result",
    "GROUPS": "contracts.result",
    "Card": "contracts.dataset",
    "Check": "conformance.checks",
    "CheckResult": "conformance.checks",
    "claim_finding": "claims.wording",
    "claim_source": "claims.wording",
    "claim_tally": "claims.wording",
    "claims": "claims.verdicts",
    "Clock": "contracts.budget",
    "Citations": "analysis.citations",
    "Config": "contracts.config",
    "Context": "contracts.model",
    "DataError": "errors",
    "DataInfo": "contracts.model",
    "Dataset": "contracts.dataset",
    "Direct": "contracts.model",
    "DivergedError": "errors",
    "Evaluation": "evaluation.evaluation",
    "Distribution": "contracts.dataset",
    "DistributionConfig": "contracts.dataset",
    "Merged": "store.merged_records",
    "Judged": "analysis.summary",
    "LIKELIHOOD_KINDS": "contracts.result",
    "Metric": "contracts.metric",
    "Model": "contracts.model",
    "Modes": "contracts.dataset",
    "NeuralModel": "training.neural",
    "Observer": "contracts.observer",
    "PluginError": "errors",
    "Quantity": "contracts.result",
    "Recipe": "contracts.recipe",
    "Repeat": "analysis.repeats",
    "ReportSection": "contracts.section",
    "Result": "contracts.result",
    "RunChanges": "analysis.run_changes",
    "RunView": "analysis.view",
    "Sampler": "contracts.model",
    "Section": "contracts.section",
    "Split": "contracts.model",
    "Splits": "contracts.dataset",
    "StoreError": "errors",
    "SuiteError": "errors",
    "TrainedModel": "trained.model",
    "TrilemmaError": "errors",
    "Truth": "contracts.model",
    "UnsupportedError": "errors",
    "Tuned": "tuning.record",
    "Update": "training.neural",
    "answers": "analysis.answers",
    "boundary": "boundary",
    "citations": "analysis.citations",
    "claim_directory": "store.claim",
    "compare": "analysis.verdicts",
    "compare_runs": "analysis.run_changes",
    "conformance_checks": "conformance.checks",
    "csv_text": "store.csv_text",
    "deciding_metric": "analysis.arenas",
    "described": "boundary",
    "front_membership": "analysis.pareto",
    "hookimpl": "contracts.hookspecs",
    "interquartile_mean": "analysis.aggregates",
    "judge": "analysis.summary",
    "load_model": "trained.model",
    "load_results": "api",
    "mean_interval": "analysis.statistics",
    "merge": "api",
    "metrics_in_order": "analysis.summary",
    "on_front": "analysis.pareto",
    "parametrize_with_checks": "conformance.checks",
    "printable": "text",
    "probability_of_improvement": "analysis.aggregates",
    "overall": "analysis.overall",
    "repeats": "analysis.repeats",
    "report_sections": "analysis.view",
    "run": "api",
    "short_paths": "text",
    "stratified_interval": "analysis.aggregates",
    "summary_rows": "analysis.summary",
    "tune": "tuning.api",
    "uniform_frame": "analysis.frames",
    "verdicts": "analysis.verdicts",
    "without_drawings": "analysis.frames",
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
