"""The resolution of a suite: from its entries to validated models, datasets, samplers and metrics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from ..boundary import PluginExitError, boundary, described
from ..contracts.config import Config
from ..errors import MOST_PROBLEMS, MissingLibraryError, PluginError, Problem, SuiteError, TrilemmaError, did_you_mean
from ..plugins import Registry
from .choices import Choice, MetricChoice, ModelChoice, Options, Resolved, unloaded
from .grids import grid_axes, label, planned_numbers
from .limits import MOST_CELLS, MOST_COMBINATIONS, MOST_EVALUATIONS
from .sources import class_source, evaluation_source, members_used, training_source
from .suite import Document, config_problems, validate

if TYPE_CHECKING:
    from .elsewhere import Elsewhere

Made = TypeVar("Made")


Ask = Callable[[Mapping[str, Any]], Sequence["Elsewhere"]]
"""Asks the interpreters of plugins with an environment of their own for the models of a suite."""


def resolve(document: Document, registry: Registry, ask: Ask = lambda request: ()) -> Resolved:
    """Validate a whole suite against the registered plugins. Raises SuiteError with every problem found."""
    return _Resolver(document, registry).resolve(ask)


def resolve_models(
    document: Document, names: Sequence[str], registry: Registry, used: frozenset[str]
) -> tuple[dict[int, list[ModelChoice]], list[Problem]]:
    """The models of the entries with these names, by the index of the entry, and the problems of these entries."""
    resolver = _Resolver(document, registry)
    resolver.used = used
    found = {
        index: resolver._models(registry.get("models", entry["name"]), entry, ("models", index))
        for index, entry in enumerate(document.values["models"])
        if isinstance(entry, dict) and entry.get("name") in names
    }
    return found, resolver.problems


class _Resolver:
    def __init__(self, document: Document, registry: Registry) -> None:
        self.document, self.registry = document, registry
        self.problems: list[Problem] = []
        self.used: frozenset[str] = frozenset()
        self.elsewhere: Sequence[Elsewhere] = ()

    def resolve(self, ask: Ask) -> Resolved:
        suite, self.problems = validate(self.document)
        values = self.document.values
        datasets = self._entries("datasets", values.get("datasets"), self._datasets)
        metrics = self._metrics(values.get("metrics"))
        self.used = members_used(tuple(self.registry.get("metrics", metric.name) for metric in metrics))
        self.elsewhere = ask({"models": values.get("models", []), "used": sorted(self.used)})
        models = self._entries("models", values.get("models"), self._models)
        for kind, choices in (("model", models), ("dataset", datasets)):
            counts = Counter(choice.label for choice in choices)
            for name in sorted(name for name, count in counts.items() if count > 1):
                self.problems.append(self.document.problem((f"{kind}s",), f"{kind} '{name}' is listed twice"))
        if suite is not None:
            cells, evaluations = planned_numbers(models, datasets, len(suite.seed_list))
            if self._few(("seeds",), "cells (models x datasets x seeds)", cells, MOST_CELLS):
                self._few(
                    ("models",),
                    "evaluations (cells x settings of samplers and likelihoods)",
                    evaluations,
                    MOST_EVALUATIONS,
                )
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
            owners = [other for other in self.elsewhere if kind == "models" and entry["name"] in other.names]
            if owners:
                found.extend(self._from_elsewhere(owners, entry["name"], index))
                continue
            try:
                cls = self.registry.get(kind, entry["name"])
            except MissingLibraryError as error:
                if kind == "models":  # the others run, and its cells say what is missing
                    found.append(unloaded(entry, self.registry.provenance("models", entry["name"])))
                else:
                    self.problems.append(self.document.problem((kind, index, "name"), str(error)))
                continue
            except PluginError as error:
                self.problems.append(self.document.problem((kind, index, "name"), str(error)))
                continue
            found.extend(expand(cls, entry, (kind, index)))
            if not self._few((kind, index), f"{kind} in this suite", len(found)):
                break
        return found

    def _datasets(self, cls: Any, entry: Options, base: tuple[str | int, ...]) -> list[Choice]:
        provenance = self.registry.provenance("datasets", cls.name)
        grid = self._grid(cls.Config, entry.get("config", {}), (*base, "config"))
        stamps = self._made(base, lambda: [str(cls(config).stamp()) for _, config in grid])
        own, source = str(entry.get("label") or ""), class_source(cls)
        labels = [
            label(own or cls.name, {k: v for k, v in given.items() if not own or k != "path"}) for given, _ in grid
        ]
        return [
            Choice(cls.name, text, config.model_dump(mode="json"), provenance, source, stamp)
            for text, (_, config), stamp in zip(labels, grid, stamps, strict=False)
        ]

    def _from_elsewhere(self, owners: Sequence[Elsewhere], name: str, index: int) -> list[ModelChoice]:
        """The models of an entry that the interpreter of a plugin has planned."""
        places = [owner.plugin for owner in owners]
        if name in self.registry.names("models"):
            places.append(self.registry.provenance("models", name).distribution)
        if len(places) > 1:
            message = f"model '{name}' is registered by {' and by '.join(places)}; rename one of them"
            self.problems.append(self.document.problem(("models", index, "name"), message))
            return []
        of_entry = [problem for problem in owners[0].problems if problem[0][:2] == ("models", index)]
        self.problems += [self.document.problem(*problem) for problem in of_entry]
        return owners[0].models(index)

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
        likelihoods = self._likelihoods(cls, entry.get("likelihood", {}), (*base, "likelihood"))
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
        grid = self._grid(cls.Config, entry.get("config", {}), (*base, "config"))
        if not self._few(base, "combinations of config and recipe", len(grid) * len(recipes)):
            return []
        truths = self._made(base, lambda: [bool(cls(config).needs_truth) for _, config in grid])
        return [
            ModelChoice(
                cls.name,
                label(cls.name, {**given, **recipe_given}),
                config.model_dump(mode="json"),
                provenance,
                training_source(cls),
                likelihood_source=evaluation_source(cls, None, self.used),
                needs_truth=needs_truth,
                recipe=None if recipe_config is None else recipe_config.model_dump(mode="json"),
                likelihood_options=likelihoods[0].config if likelihoods else {},
                likelihoods=tuple(likelihoods if len(likelihoods) > 1 else ()),
                samplers=tuple(samplers),
                control=cls.control,
                family=cls.family,
                pictured=cls.pictured,
                likelihood=cls.likelihood,
                datasets=None if trained_on is None else tuple(trained_on),
            )
            for (given, config), needs_truth in zip(grid, truths, strict=False)
            for recipe_given, recipe_config in recipes
        ]

    def _likelihoods(self, cls: Any, options: Any, base: tuple[str | int, ...]) -> list[Choice]:
        """The settings of the likelihood. The first is the one by which the model is ranked."""
        found = [
            Choice("likelihood", label("likelihood", given), config.model_dump(mode="json"))
            for i, part in enumerate(options if isinstance(options, list) else [options])
            for given, config in self._grid(cls.Likelihood, part, (*base, i) if isinstance(options, list) else base)
        ]
        return list({choice.label: choice for choice in found}.values())

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
            if not self._few(path, "sampler settings of this model", len(found)):
                return []
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
        """Every combination of the listed values, as pairs of the options that were set and the validated record."""
        if not isinstance(options, Mapping):
            return []  # reported by the suite's own validation
        axes = self._made(base, lambda: grid_axes(cls, options, single=single))
        if not self._few(base, "combinations in this grid", math.prod(map(len, axes))):
            return []
        problems: list[Problem] = []

        def validated() -> list[tuple[Options, Config]]:
            found = []
            for combination in product(*axes):
                given = dict(combination)
                try:
                    found.append((given, cls.model_validate(given)))
                except ValidationError as error:
                    problems.extend(config_problems(self.document, base, error, cls))
                if len(problems) > MOST_PROBLEMS:
                    break  # the message shows no more
            return found

        found = self._made(base, validated)
        self.problems += problems
        return found

    def _made(self, place: Sequence[str | int], make: Callable[[], list[Made]]) -> list[Made]:
        """What code of a plugin makes. If it raises an error, this is a problem of that place, and nothing is made."""
        try:
            with boundary():
                return make()
        except Exception as error:
            said = isinstance(error, TrilemmaError) and not isinstance(error, PluginExitError)
            message = str(error) if said else f"the code of the plugin raised {described(error)}"
            self.problems.append(self.document.problem(place, message))
        return []

    def _few(self, place: Sequence[str | int], what: str, count: int, most: int = MOST_COMBINATIONS) -> bool:
        """Whether a number is within its limit. If not, this is a problem."""
        if count > most:
            self.problems.append(self.document.problem(place, f"{count:,} {what}; at most {most:,} are possible"))
        return count <= most
