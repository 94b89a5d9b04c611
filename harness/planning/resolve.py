"""The resolution of a suite: from its entries to validated models, datasets, samplers and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..contracts.config import Config
from ..errors import PluginError, Problem, SuiteError, did_you_mean
from ..identity import Provenance
from ..plugins import Registry
from .sources import class_source, evaluation_source, members_used, training_source
from .suite import Document, Suite, config_problems, validate

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
    def record(self) -> dict[str, Any]:
        """The choice as a JSON-able record. All cells with this choice share it, so it must not be changed."""
        return asdict(self)


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
    samplers: tuple[Choice, ...] = ()
    control: bool = False
    family: str = ""
    pictured: bool = True
    likelihood: str = "none"
    datasets: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Resolved:
    """A suite in which every name and option is valid."""

    suite: Suite
    models: tuple[ModelChoice, ...]
    datasets: tuple[Choice, ...]
    metrics: tuple[MetricChoice, ...]

    @property
    def pairs(self) -> list[tuple[Choice, ModelChoice]]:
        """Every dataset with every model that is trained on it."""
        return [
            (dataset, model)
            for dataset in self.datasets
            for model in self.models
            if model.datasets is None or dataset.name in model.datasets
        ]


def resolve(document: Document, registry: Registry) -> Resolved:
    """Validate a whole suite against the registered plugins. Raises SuiteError with every problem found."""
    return _Resolver(document, registry).resolve()


class _Resolver:
    def __init__(self, document: Document, registry: Registry) -> None:
        self.document, self.registry = document, registry
        self.problems: list[Problem] = []
        self.used: frozenset[str] = frozenset()

    def resolve(self) -> Resolved:
        suite, self.problems = validate(self.document)
        values = self.document.values
        datasets = self._entries("datasets", values.get("datasets"), self._datasets)
        metrics = self._metrics(values.get("metrics"))
        self.used = members_used(tuple(self.registry.get("metrics", metric.name) for metric in metrics))
        models = self._entries("models", values.get("models"), self._models)
        for kind, choices in (("model", models), ("dataset", datasets)):
            labels = [choice.label for choice in choices]
            for label in sorted({label for label in labels if labels.count(label) > 1}):
                self.problems.append(self.document.problem((f"{kind}s",), f"{kind} '{label}' is listed twice"))
        if suite is None or self.problems:
            order = sorted(dict.fromkeys(self.problems), key=lambda p: (p.file, p.line or 0))
            raise SuiteError(order)
        resolved = Resolved(suite, tuple(models), tuple(datasets), tuple(metrics))
        if not resolved.pairs:
            message = "no model is trained on any dataset of the suite"
            raise SuiteError([self.document.problem(("models",), message, "check the key `datasets` of each model")])
        return resolved

    def _entries(self, kind: str, entries: Any, expand: Any) -> list[Any]:
        found: list[Any] = []
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                continue  # the suite's own validation has reported it
            try:
                cls = self.registry.get(kind, entry["name"])
            except PluginError as error:
                self.problems.append(self.document.problem((kind, index, "name"), str(error)))
                continue
            found.extend(expand(cls, entry, (kind, index)))
        return found

    def _datasets(self, cls: Any, entry: Options, base: tuple[str | int, ...]) -> list[Choice]:
        provenance = self.registry.provenance("datasets", cls.name)
        return [
            Choice(
                cls.name,
                label(cls.name, given),
                config.model_dump(mode="json"),
                provenance,
                class_source(cls),
                cls(config).stamp(),
            )
            for given, config in self._grid(cls.Config, entry.get("config", {}), (*base, "config"))
        ]

    def _models(self, cls: Any, entry: Options, base: tuple[str | int, ...]) -> list[ModelChoice]:
        provenance = self.registry.provenance("models", cls.name)
        names = entry.get("datasets")
        trained_on = [str(name) for name in names] if isinstance(names, list) else None
        for index, name in enumerate(trained_on or []):
            try:
                self.registry.get("datasets", name)
            except PluginError as error:
                self.problems.append(self.document.problem((*base, "datasets", index), str(error)))
        samplers = self._samplers(cls, entry.get("samplers"), (*base, "samplers"))
        likelihoods = self._grid(cls.Likelihood, entry.get("likelihood", {}), (*base, "likelihood"), single=True)
        recipe = getattr(cls, "recipe", None)
        recipes: list[tuple[Options, Any]] = [({}, None)]
        if recipe is not None:
            given = entry.get("recipe", {})
            merged = {**recipe.model_dump(), **given} if isinstance(given, dict) else given
            recipes = self._grid(type(recipe), merged, (*base, "recipe"))
            recipes = [
                ({k: v for k, v in full.items() if isinstance(given, dict) and k in given}, config)
                for full, config in recipes
            ]
        elif entry.get("recipe"):
            self.problems.append(
                self.document.problem((*base, "recipe"), f"model '{cls.name}' has no recipe; remove this table")
            )
        return [
            ModelChoice(
                cls.name,
                label(cls.name, {**given, **recipe_given}),
                config.model_dump(mode="json"),
                provenance,
                training_source(cls),
                likelihood_source=evaluation_source(cls, None, self.used),
                needs_truth=bool(cls(config).needs_truth),
                recipe=None if recipe_config is None else recipe_config.model_dump(mode="json"),
                likelihood_options=likelihoods[0][1].model_dump(mode="json") if likelihoods else {},
                samplers=tuple(samplers),
                control=cls.control,
                family=cls.family,
                pictured=cls.pictured,
                likelihood=cls.likelihood,
                datasets=None if trained_on is None else tuple(trained_on),
            )
            for given, config in self._grid(cls.Config, entry.get("config", {}), (*base, "config"))
            for recipe_given, recipe_config in recipes
        ]

    def _samplers(self, cls: Any, entries: Any, base: tuple[str | int, ...]) -> list[Choice]:
        known = {sampler.name: sampler for sampler in cls.samplers}
        found = []
        if entries is None:
            found = [self._setting(cls, name, sampler()) for name, sampler in known.items()]
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            path = (*base, index)
            if not isinstance(entry, dict):
                continue
            name = str(entry.get("name", ""))
            if name not in known:
                message = f"model '{cls.name}' has no sampler '{name}'" if name else "this sampler has no name"
                self.problems.append(
                    self.document.problem((*path, "name") if name else path, message, did_you_mean(name, known))
                )
                continue
            options = {key: value for key, value in entry.items() if key != "name"}
            for given, sampler in self._grid(known[name], options, path):
                found.append(self._setting(cls, label(name, given), sampler))
        found = list({choice.label: choice for choice in found}.values())
        for sampler in cls.always_samplers:
            options = sampler.model_dump(mode="json")
            if not any((choice.name, choice.config) == (sampler.name, options) for choice in found):
                given = sampler.model_dump(mode="json", exclude_unset=True)
                found.append(self._setting(cls, label(sampler.name, given), sampler))
        return found

    def _setting(self, model: type[Any], label: str, sampler: Any) -> Choice:
        source = evaluation_source(model, type(sampler), self.used)
        return Choice(sampler.name, label, sampler.model_dump(mode="json"), source=source)

    def _metrics(self, entries: Any) -> list[MetricChoice]:
        if entries is None:
            entries = {name: {} for name in self.registry.classes("metrics")}
        found = []
        for name, options in entries.items() if isinstance(entries, dict) else ():
            try:
                cls = self.registry.get("metrics", name)
            except PluginError as error:
                self.problems.append(self.document.problem(("metrics", name), str(error)))
                continue
            for given, config in self._grid(cls.Config, options, ("metrics", name), single=True):
                provenance = self.registry.provenance("metrics", name)
                found.append(
                    MetricChoice(
                        name,
                        label(name, given),
                        config.model_dump(mode="json"),
                        provenance,
                        class_source(cls),
                        stage=cls.stage,
                    )
                )
        return found

    def _grid(
        self, cls: type[Config], options: Any, base: Sequence[str | int], *, single: bool = False
    ) -> list[tuple[Options, Config]]:
        """Every combination of the listed values, as pairs of the options that were set and the validated record.

        A list that the field accepts is one value. Any other list is a grid over its elements.
        """
        if not isinstance(options, Mapping):
            return []  # reported by the suite's own validation
        axes = []
        for key, value in options.items():
            is_grid = isinstance(value, list) and not single and not _accepts(cls, key, value)
            axes.append([(key, element) for element in (value if is_grid else [value])])
        found: list[tuple[Options, Config]] = []
        for combination in product(*axes):
            given = dict(combination)
            try:
                found.append((given, cls.model_validate(given)))
            except ValidationError as error:
                self.problems.extend(config_problems(self.document, base, error, cls))
        return found


def _accepts(cls: type[Config], key: str, value: Any) -> bool:
    field = cls.model_fields.get(key)
    if field is None or field.annotation is None:
        return True  # so that an unknown key is reported once, and not once for each element
    try:
        TypeAdapter[Any](field.annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def label(name: str, given: Mapping[str, Any]) -> str:
    """The label of a name with options, such as `heun(steps=18)`."""
    if not given:
        return name
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in given.items())})"


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(_short(element) for element in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
