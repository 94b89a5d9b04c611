"""Planned cells and their identities."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from ..identity import Provenance
from .resolve import Choice, MetricChoice, ModelChoice, Resolved

_TRAINING_CORE = (
    "training.loop", "contracts.budget", "evaluation.spaces", "contracts.model", "contracts.recipe", "contracts.dataset"
)  # fmt: skip
_EVALUATION_CORE = ("evaluation.evaluation", "evaluation.cost", "analysis.statistics", "evaluation.spaces")


def content_id(record: Any) -> str:
    """A content hash (20 hex digits) of a JSON-able record."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:20]


@cache
def core_hash(modules: tuple[str, ...]) -> str:
    """Hash of the modules of the harness that decide what a stage computes."""
    import importlib.util
    from pathlib import Path

    digest = hashlib.sha256()
    for module in modules:
        spec = importlib.util.find_spec(f"trilemma.harness.{module}")
        assert spec is not None
        assert spec.origin is not None
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class PlannedEvaluation:
    """One evaluation of a trained cell: of its density and training (sampler None), or at one sampler setting."""

    id: str
    sampler: Choice | None
    metrics: tuple[MetricChoice, ...]


@dataclass(frozen=True)
class Cell:
    """One training run: (model + config, dataset, seed, budget), and the evaluations that the suite wants of it."""

    id: str
    model: ModelChoice
    dataset: Choice
    seed: int
    budget: dict[str, Any]
    device: str
    data_error: str = ""
    evaluations: tuple[PlannedEvaluation, ...] = field(default=())

    @property
    def label(self) -> str:
        """How the cell is shown to people."""
        return f"{self.model.label} on {self.dataset.label}, seed {self.seed}"

    def describe(self) -> dict[str, Any]:
        """The cell as a JSON-able record, for the store and for observers."""
        record = asdict(self)
        record["label"] = self.label
        return record


def data_id(dataset: Choice) -> str:
    """Identity of a dataset with its options, before its content is known."""
    identity = {"dataset": dataset.name, "config": dataset.config, "source": _source(dataset.provenance)}
    return content_id(identity | {"stamp": dataset.stamp})


def plan(resolved: Resolved, cards: dict[str, dict[str, Any]], device: str) -> list[Cell]:
    """The cells of a suite. `cards` maps data ids to dataset cards (or `{"error": message}`).

    A cell's identity covers the model plugin's distribution, version, source and options, the checksum of the data,
    seed, budget and device class; an evaluation's adds the sampler setting, the metrics and their sources.
    """
    cells = []
    budget = resolved.suite.budget.model_dump(exclude_none=True)
    once = tuple(metric for metric in resolved.metrics if metric.stage in ("likelihood", "training"))
    sampling = tuple(metric for metric in resolved.metrics if metric.stage == "sampling")
    for dataset, model in resolved.pairs:
        card = cards[data_id(dataset)]
        for seed in resolved.suite.seed_list:
            identity = {
                "model": model.name,
                "config": model.config,
                "recipe": model.recipe,
                "plugin": _source(model.provenance),
                "dataset": dataset.name,
                "data": card.get("sha256", data_id(dataset)),
                "seed": seed,
                # Models without a recipe that ignore the clock are the same under any budget, but the harness
                # cannot know which ignore it.
                "budget": budget,
                "device": device.split(":")[0],
                "core": core_hash(_TRAINING_CORE),
            }
            cell_id = content_id(identity)
            evaluations = []
            if once:
                evaluations.append(_evaluation(cell_id, model, None, once))
            if sampling:
                evaluations += [_evaluation(cell_id, model, sampler, sampling) for sampler in model.samplers]
            cells.append(Cell(cell_id, model, dataset, seed, budget, device, card.get("error", ""), tuple(evaluations)))
    return cells


def _evaluation(
    cell_id: str, model: ModelChoice, sampler: Choice | None, metrics: tuple[MetricChoice, ...]
) -> PlannedEvaluation:
    identity = {
        "cell": cell_id,
        "sampler": None if sampler is None else [sampler.name, sampler.config],
        "likelihood": model.likelihood_options if sampler is None else None,
        "metrics": [[metric.name, metric.config, _source(metric.provenance)] for metric in metrics],
        "core": core_hash(_EVALUATION_CORE),
    }
    return PlannedEvaluation(content_id(identity), sampler, metrics)


def _source(provenance: Provenance | None) -> list[str]:
    return [] if provenance is None else [provenance.distribution, provenance.version, provenance.source_hash]
