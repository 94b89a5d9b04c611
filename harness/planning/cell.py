"""Planned cells and their identities."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import Problem, SuiteError
from .resolve import Choice, MetricChoice, ModelChoice, Resolved
from .sources import timing_source

TIMING = "timing"
"""The stage of evaluations that measure times."""


def content_id(record: Any) -> str:
    """A content hash (20 hex digits) of a JSON-able record."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:20]


_STAGES = {"likelihood": "model", "training": "model", "sampling": "sampling", "timing": TIMING}
"""The stage of the evaluation that computes a metric, by the stage of the metric."""


@dataclass(frozen=True)
class PlannedEvaluation:
    """One evaluation of a cell: of its likelihood and training (`sampler` is None), or at one sampler setting.

    `stage` is `model` (likelihood and training), `sampling`, or `timing` (the time that sampling takes).
    """

    id: str
    sampler: Choice | None
    metrics: tuple[MetricChoice, ...]
    source: str = ""
    stage: str = "sampling"

    @property
    def label(self) -> str:
        """The text that names the evaluation within its cell."""
        return self.sampler.label if self.sampler else "likelihood"


@dataclass(frozen=True)
class Cell:
    """One training, of a model with its options on a dataset with a seed and a budget, and its evaluations."""

    id: str
    model: ModelChoice
    dataset: Choice
    seed: int
    budget: dict[str, Any]
    device: str
    data_error: str = ""
    data_sha256: str = ""
    evaluations: tuple[PlannedEvaluation, ...] = field(default=())

    @property
    def evaluated(self) -> tuple[PlannedEvaluation, ...]:
        """The evaluations that the process of the cell runs: all but those of times."""
        return tuple(planned for planned in self.evaluations if planned.stage != TIMING)

    @property
    def timed(self) -> tuple[PlannedEvaluation, ...]:
        """The evaluations of times, which run after all cells."""
        return tuple(planned for planned in self.evaluations if planned.stage == TIMING)

    @property
    def label(self) -> str:
        """The text that names the cell in messages."""
        return f"{self.model.label} on {self.dataset.label}, seed {self.seed}"

    def describe(self) -> dict[str, Any]:
        """The cell as a JSON-able record, for the store and for observers. It shares its parts with other cells."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record |= {"model": self.model.plain, "dataset": self.dataset.plain, "label": self.label}
        record["evaluations"] = [
            {
                **{each.name: getattr(planned, each.name) for each in fields(planned)},
                "sampler": planned.sampler and planned.sampler.plain,
                "metrics": [metric.plain for metric in planned.metrics],
            }
            for planned in self.evaluations
        ]
        return record | {"data_id": data_id(self.dataset)}


def cell_job(cell: Cell) -> dict[str, Any]:
    """What the process of a cell has to know of it, for training, evaluation and timing alike."""
    return {
        "id": cell.id,
        "cell": cell.describe(),
        "model": asdict(cell.model),
        "dataset": asdict(cell.dataset),
        "data_sha256": cell.data_sha256,
        "seed": cell.seed,
        "budget": cell.budget,
    }


def data_id(dataset: Choice) -> str:
    """Identity of a dataset with its options, before its content is known."""
    return content_id({"dataset": _class(dataset), "stamp": dataset.stamp})


def plan(resolved: Resolved, cards: dict[str, dict[str, Any]], device: str) -> list[Cell]:
    """The cells of a suite. `cards` maps data ids to dataset cards (or `{"error": message}`).

    The training identity of a cell covers the model with its options and recipe, the source code that training reaches,
    the checksum of the data and how it is mapped to model space, the seed, the budget and the class of device. For a
    model that gets the true distribution it also covers the dataset's options and source code. The evaluation identity
    covers the training identity, the source code that the evaluation reaches, the sampler setting or the options of the
    likelihood, the metrics with their options and source code, and the options and source code of the dataset.

    Metrics of times are evaluations of their own, so that they and the other metrics never run again because of each
    other. They are planned for the first seed only, because times hardly depend on the seed. Raises SuiteError if two
    cells or two evaluations are the same.
    """
    cells: list[Cell] = []
    budget = resolved.suite.budget.model_dump(exclude_none=True)
    seeds = resolved.suite.seed_list
    metrics = {
        stage: tuple(metric for metric in resolved.metrics if _STAGES[metric.stage] == stage)
        for stage in ("model", "sampling", TIMING)
    }
    for dataset, model in resolved.pairs:
        card = cards[data_id(dataset)]
        for seed in seeds:
            identity = {
                "model": _class(model),
                "recipe": model.recipe,
                "dataset": dataset.name,
                "data": card.get("sha256", data_id(dataset)),
                "space": [card.get(key) for key in ("kind", "shape", "levels", "logit_alpha")],
                "truth": [dataset.source, dataset.config] if model.needs_truth else None,
                "seed": seed,
                # Some models without a recipe ignore the clock and are the same under any budget, but the harness
                # cannot know which.
                "budget": budget,
                "device": device.split(":")[0],
            }
            cell_id = content_id(identity)
            settings: list[tuple[str, Choice | None]] = [("model", None)]
            settings += [("sampling", sampler) for sampler in model.samplers]
            if seed == seeds[0]:
                settings += [(TIMING, sampler) for sampler in model.samplers]
            cells.append(
                Cell(
                    cell_id,
                    model,
                    dataset,
                    seed,
                    budget,
                    device,
                    card.get("error", ""),
                    card.get("sha256", ""),
                    tuple(
                        _evaluation(cell_id, dataset, model, sampler, metrics[stage], stage)
                        for stage, sampler in settings
                        if metrics[stage]
                    ),
                )
            )
    _refuse_twins(cells)
    return cells


def _refuse_twins(cells: list[Cell]) -> None:
    seen: dict[str, str] = {}
    for cell in cells:
        names = {cell.id: cell.label}
        for planned in cell.evaluations:
            label = f"{cell.label}, {planned.label}"
            if planned.id in names:
                raise SuiteError([Problem(f"{names[planned.id]} and {label} are the same setting; remove one of them")])
            names[planned.id] = label
        if cell.id in seen:
            problem = f"{seen[cell.id]} and {cell.label} are the same, options and data; remove one of them"
            raise SuiteError([Problem(problem)])
        seen[cell.id] = cell.label


def _evaluation(
    cell_id: str,
    dataset: Choice,
    model: ModelChoice,
    sampler: Choice | None,
    metrics: tuple[MetricChoice, ...],
    stage: str,
) -> PlannedEvaluation:
    source = model.likelihood_source if sampler is None else sampler.source
    identity = {
        "cell": cell_id,
        "dataset": [dataset.source, dataset.config],
        "sampler": None if sampler is None else [sampler.name, sampler.config],
        "likelihood": model.likelihood_options if sampler is None else None,
        "source": source,
        "metrics": [_class(metric) for metric in metrics],
    }
    if stage == TIMING:
        identity["timing"] = timing_source()
    return PlannedEvaluation(content_id(identity), sampler, metrics, source, stage)


def _class(choice: Choice) -> list[Any]:
    """The identity of a registered class: its name, options and source code.

    For distributions other than trilemma it includes their version, because their code may not all be Python.
    """
    origin = choice.provenance
    version = [] if origin is None or origin.distribution == "trilemma" else [origin.distribution, origin.version]
    return [choice.name, choice.config, choice.source, *version]
