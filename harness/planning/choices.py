"""What a suite chooses: plugin classes with their options, all of them valid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from ..identity import Provenance
from .grids import label
from .suite import Suite

Options = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One plugin class with its options: a dataset, metric or sampler setting. `label` shows the options that were set.

    `source` is the hash of the code that it reaches (see `sources`): in training for a model, in an evaluation for a
    sampler setting. `stamp` is the stamp of a dataset, which changes with its files.
    """

    name: str
    label: str
    config: Options
    provenance: Provenance | None = None
    source: str = ""
    stamp: str = ""

    @cached_property
    def record(self) -> Options:
        """The choice as a JSON-able record. All cells with this choice share it, so it must not be changed."""
        return asdict(self)


@dataclass(frozen=True)
class DatasetChoice(Choice):
    """A dataset with its options. With `held_out` "valid", the validation split takes the place of the test split.

    The test split is then dropped as soon as the data is loaded, so that nothing can be computed on it.
    """

    held_out: Literal["test", "valid"] = "test"


@dataclass(frozen=True)
class MetricChoice(Choice):
    """A metric with its options and its stage."""

    stage: str = "sampling"


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model with its options, training recipe, likelihood options and sampler settings."""

    likelihood_source: str = ""
    needs_truth: bool = False
    recipe: Options | None = None
    likelihood_options: Options | None = None
    likelihoods: tuple[Choice, ...] = ()
    """The settings of the likelihood if there are several. The first has the options `likelihood_options`."""
    samplers: tuple[Choice, ...] = ()
    control: bool = False
    family: str = ""
    pictured: bool = True
    likelihood: str = "none"
    datasets: tuple[str, ...] | None = None
    environment: str = ""
    """The interpreter that runs it, if its plugin has a Python environment of its own."""
    plugin: str = ""
    """The file or module of this plugin."""


def unloaded(entry: Options, provenance: Provenance) -> ModelChoice:
    """The choice of an entry whose class cannot be loaded, with its options as they are written."""
    config, names = entry.get("config"), entry.get("datasets")
    given = config if isinstance(config, dict) else {}
    trained_on = tuple(str(name) for name in names) if isinstance(names, list) else None
    return ModelChoice(entry["name"], label(entry["name"], given), given, provenance, "not loaded", datasets=trained_on)


@dataclass(frozen=True)
class Resolved:
    """A suite in which every name and option is valid."""

    suite: Suite
    models: tuple[ModelChoice, ...]
    datasets: tuple[Choice, ...]
    metrics: tuple[MetricChoice, ...]

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """The classes that are chosen, by kind and name, and `recipe` if a model is trained with one."""
        kinds = {"datasets": self.datasets, "models": self.models, "metrics": self.metrics}
        found = {(kind, choice.name): None for kind, choices in kinds.items() for choice in choices}
        return (*found, *((("recipe", ""),) if any(model.recipe for model in self.models) else ()))

    @property
    def pairs(self) -> list[tuple[Choice, ModelChoice]]:
        """Every dataset with every model that is trained on it."""
        return [
            (dataset, model)
            for dataset in self.datasets
            for model in self.models
            if model.datasets is None or dataset.name in model.datasets
        ]
