"""Planned cells and their identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Problem, SuiteError
from .choices import Choice, DatasetChoice, MetricChoice, ModelChoice, Resolved
from .sources import timing_source

TIMING = "timing"
"""The stage of evaluations that measure times."""


def content_id(record: Mapping[str, Any]) -> str:
    """A content hash (20 hex digits) of a JSON-able record."""
    return _id_of({key: _text(value) for key, value in record.items()})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _id_of(texts: Mapping[str, str]) -> str:
    """The content hash of a record whose values are JSON already. The parts that cells share are written once."""
    text = ", ".join(f"{json.dumps(key)}: {texts[key]}" for key in sorted(texts))
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:20]


_STAGES = {"likelihood": "model", "training": "model", "sampling": "sampling", "timing": TIMING}
"""The stage of the evaluation that computes a metric, by the stage of the metric."""


@dataclass(frozen=True, slots=True)
class PlannedEvaluation:
    """One evaluation of a cell: of its likelihood and training (`sampler` is None), or at one sampler setting.

    `stage` is `model` (likelihood and training), `sampling`, or `timing` (the time that sampling takes).
    """

    id: str
    sampler: Choice | None
    metrics: tuple[MetricChoice, ...]
    source: str = ""
    stage: str = "sampling"
    likelihood: Choice | None = None
    """The setting of the likelihood, if the model has several. The model is ranked by the first alone."""
    further: bool = False
    """Whether the setting of the likelihood is not the first."""

    @property
    def label(self) -> str:
        """The text that names the evaluation within its cell."""
        setting = self.sampler or self.likelihood
        return setting.label if setting else "likelihood"

    def record(self) -> dict[str, Any]:
        """The evaluation as a JSON-able record, which shares parts with others."""
        sampler = None if self.sampler is None else self.sampler.record
        metrics = tuple(metric.record for metric in self.metrics)
        found: dict[str, Any] = {
            "id": self.id,
            "sampler": sampler,
            "metrics": metrics,
            "source": self.source,
            "stage": self.stage,
        }
        if self.likelihood is not None:
            found |= {"likelihood": self.likelihood.record, "further": self.further}
        return found


@dataclass(frozen=True, slots=True)
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

    def record(self) -> dict[str, Any]:
        """The cell as a JSON-able record. It shares parts with those of other cells, so it must not be changed."""
        return {
            "id": self.id,
            "model": self.model.record,
            "dataset": self.dataset.record,
            "seed": self.seed,
            "budget": self.budget,
            "device": self.device,
            "data_error": self.data_error,
            "data_sha256": self.data_sha256,
            "evaluations": tuple(planned.record() for planned in self.evaluations),
            "label": self.label,
            "data_id": data_id(self.dataset),
        }

    def describe(self) -> dict[str, Any]:
        """The cell as a JSON-able record of its own, for the store and for observers."""
        described: dict[str, Any] = _copy(self.record())
        return described


def _copy(value: Any) -> Any:
    """A copy of a JSON-able value, several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return type(value)(map(_copy, value)) if isinstance(value, list | tuple) else value


def cell_job(cell: Cell) -> dict[str, Any]:
    """What the process of a cell has to know of it, for training, evaluation and timing alike."""
    return {
        "id": cell.id,
        "cell": cell.record(),
        "model": cell.model.record,
        "dataset": cell.dataset.record,
        "data_sha256": cell.data_sha256,
        "seed": cell.seed,
        "budget": cell.budget,
    }


def data_id(dataset: Choice) -> str:
    """Identity of a dataset with its options, before its content is known."""
    held_out = {"held_out": dataset.held_out} if isinstance(dataset, DatasetChoice) else {}
    return content_id({"dataset": _class(dataset), "stamp": dataset.stamp, **held_out})


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
        evaluated = [
            _evaluation(dataset, model, setting, chosen)
            for setting in _settings(model)
            if (chosen := _metrics_of(setting, metrics[setting.stage]))
        ]
        shared = {
            key: _text(value)
            for key, value in {
                "model": _class(model),
                "recipe": model.recipe,
                "dataset": dataset.name,
                "data": card.get("sha256", data_id(dataset)),
                "space": [card.get(key) for key in ("kind", "shape", "levels", "logit_alpha")],
                "truth": [dataset.source, dataset.config] if model.needs_truth else None,
                # Some models without a recipe ignore the clock and are the same under any budget, but the harness
                # cannot know which.
                "budget": budget,
                "device": device.split(":")[0],
            }.items()
        }
        for seed in seeds:
            cell_id = _id_of({**shared, "seed": _text(seed)})
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
                        replace(planned, id=_id_of({**texts, "cell": _text(cell_id)}))
                        for planned, texts in evaluated
                        if planned.stage != TIMING or seed == seeds[0]
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


def _settings(model: ModelChoice) -> list[PlannedEvaluation]:
    """The evaluations of a cell, without their ids, sources and metrics: their stages, samplers and likelihoods."""
    likelihoods = model.likelihoods or (None,)
    return [
        *(PlannedEvaluation("", None, (), "", "model", choice, i > 0) for i, choice in enumerate(likelihoods)),
        *(PlannedEvaluation("", sampler, (), "", "sampling") for sampler in model.samplers),
        *(PlannedEvaluation("", sampler, (), "", TIMING) for sampler in model.samplers),
    ]


def _metrics_of(setting: PlannedEvaluation, metrics: tuple[MetricChoice, ...]) -> tuple[MetricChoice, ...]:
    """The metrics of an evaluation: those of training belong to the first setting of the likelihood alone."""
    return tuple(metric for metric in metrics if metric.stage != "training") if setting.further else metrics


def _evaluation(
    dataset: Choice, model: ModelChoice, setting: PlannedEvaluation, metrics: tuple[MetricChoice, ...]
) -> tuple[PlannedEvaluation, dict[str, str]]:
    """An evaluation without its id, and its identity without the cell, as JSON."""
    sampler, likelihood = setting.sampler, setting.likelihood
    source = model.likelihood_source if sampler is None else sampler.source
    options = model.likelihood_options if likelihood is None else likelihood.config
    identity = {
        "dataset": [dataset.source, dataset.config],
        "sampler": None if sampler is None else [sampler.name, sampler.config],
        "likelihood": options if sampler is None else None,
        "source": source,
        "metrics": [_class(metric) for metric in metrics],
    }
    if setting.stage == TIMING:
        identity["timing"] = timing_source()
    planned = replace(setting, metrics=metrics, source=source)
    return planned, {key: _text(value) for key, value in identity.items()}


def label_of(planned: Mapping[str, Any]) -> str:
    """The label of a stored planned evaluation within its cell."""
    setting = planned["sampler"] or planned.get("likelihood")
    return str(setting["label"]) if setting else "likelihood"


def _class(choice: Choice) -> list[Any]:
    """The identity of a registered class: its name, options and source code.

    For distributions other than trilemma it includes their version, because their code may not all be Python.
    """
    origin = choice.provenance
    version = [] if origin is None or origin.distribution == "trilemma" else [origin.distribution, origin.version]
    return [choice.name, choice.config, choice.source, *version]
