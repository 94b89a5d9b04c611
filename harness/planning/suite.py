"""Suites: the TOML file that says what to compare, and its validation, which reports all mistakes with their lines."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from ..contracts.budget import Budget
from ..contracts.config import NONE, Record, may_be_none
from ..errors import Problem, SuiteError, did_you_mean
from ..text import LONGEST_NAME, ONE_LINE, brief
from . import limits as bounds
from . import toml_lines
from .environments import PluginEntry
from .files import builtin_names, read_text
from .values import toml_value


class Limits(Record):
    """The limits of one cell. A cell that passes a limit is ended."""

    seconds: float = Field(
        600.0, gt=0, description="wall seconds of a cell; if it takes longer, the outcome is `timeout`"
    )
    memory_gib: float = Field(
        8.0, gt=0, description="resident memory of a cell; if it uses more, it is `out-of-memory`"
    )
    checkpoint_seconds: float = Field(
        60.0,
        ge=0,
        description="wall seconds from one checkpoint in training to the next, from which an interrupted cell goes on; "
        "0 for none",
    )


class Timing(Record):
    """How long and how often times are measured, after all cells of a run."""

    seconds: float | None = Field(
        None,
        gt=0,
        description="limit of all timing of a run; by default a tenth of the seconds of training, and at least 20",
    )
    rounds: int = Field(3, ge=1, description="how many times each sampler setting is timed, within the limit")


class DatasetEntry(Record):
    """One dataset of a suite. A list in `config` is a grid of values."""

    name: str
    label: str = Field("", max_length=LONGEST_NAME, pattern=ONE_LINE, description="what tables call it (see `path`)")
    config: dict[str, Any] = {}


class ModelEntry(Record):
    """One model of a suite. A list in `config` or in the options of a sampler is a grid of values."""

    name: str
    config: dict[str, Any] = {}
    datasets: list[str] | None = Field(None, description="names of the datasets it is trained on; by default all")
    samplers: list[dict[str, Any]] | None = Field(
        None, description="sampler settings; by default every sampler at its defaults"
    )
    likelihood: dict[str, Any] | list[dict[str, Any]] = Field(
        {}, description="options of the likelihood, or a list of such settings, of which the first ranks the model"
    )
    recipe: dict[str, Any] = Field({}, description="settings that replace those of the model's recipe")


class Suite(Record):
    """A suite: the models, datasets, seeds, budget, limits, timing and metrics to compare."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seeds: int | list[int] = Field(1, description="the number of training seeds (0, 1, ...), or a list of them")
    budget: Budget
    limits: Limits = Limits()
    timing: Timing = Timing()
    plugins: dict[str, str | PluginEntry] = Field({}, description="plugins to load: files, or modules")
    datasets: list[DatasetEntry] = Field(min_length=1)
    models: list[ModelEntry] = Field(min_length=1)
    metrics: dict[str, dict[str, Any]] = Field(
        {}, description="names of metrics with their options; by default every metric"
    )

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: int | list[int]) -> int | list[int]:
        count = seeds if isinstance(seeds, int) else len(seeds)
        if count == 0:
            raise ValueError("there are no seeds: give at least one")
        if min([seeds] if isinstance(seeds, int) else seeds) < 0:
            raise ValueError("seeds must not be negative")
        if wrong := bounds.too_many_seeds(seeds):
            raise ValueError(wrong)
        return seeds

    @property
    def seed_list(self) -> list[int]:
        """The seeds to run."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(dict.fromkeys(self.seeds))


@dataclass
class Document:
    """A parsed suite file before validation: the values, and the line of each."""

    values: dict[str, Any]
    file: str = ""
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    overridden: dict[tuple[str | int, ...], str] = field(default_factory=dict)

    def problem(self, path: Sequence[str | int], message: str, suggestion: str = "") -> Problem:
        """A problem at a path, with the line of the nearest enclosing value that has one."""
        name = _dotted(path)
        for end in range(len(path), -1, -1):
            prefix = tuple(path[:end])
            if prefix in self.overridden:
                return Problem(f"{name}: {message}", self.overridden[prefix], None, suggestion)
            if prefix in self.lines:
                return Problem(f"{name}: {message}", self.file, self.lines[prefix], suggestion)
        return Problem(f"{name}: {message}" if name else message, self.file, None, suggestion)

    # Changes that were asked for on the command line or by a call

    def put(self, key: str, value: Any, source: str) -> None:
        """Replace a top-level value. Error messages name `source` as its origin."""
        self.values[key] = value
        self.overridden[(key,)] = source

    def select(self, kind: str, names: Sequence[str] | None) -> None:
        """Keep only the named entries of `models` or `datasets`.

        A name that is not in the suite is added with default options. None keeps all entries. Raises SuiteError if
        `names` is empty.
        """
        if names is None:
            return
        if not names:
            raise SuiteError([Problem(f"--{kind} is empty: give at least one name")])
        listed = self.values.get(kind)
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        chosen: list[dict[str, Any]] = []
        for name in names:
            chosen += [entry for entry in entries if entry.get("name") == name] or [{"name": name}]
        self.put(kind, chosen, f"--{kind}")

    def override(self, assignments: Iterable[str]) -> None:
        """Apply `path=value` assignments. Values are TOML; a bare word is a string.

        An element of a list is named by its index or, for models and datasets, by its name, as in
        `models.realnvp.config.hidden=64`. Raises SuiteError.
        """
        problems = []
        for assignment in assignments:
            try:
                self._assign(assignment)
            except ValueError as error:
                problems.append(Problem(str(error), f"--set {brief(assignment)}"))
        if problems:
            raise SuiteError(problems)

    def _assign(self, assignment: str) -> None:
        path_text, equals, value_text = assignment.partition("=")
        if not equals or not path_text.strip():
            raise ValueError("expected path=value, such as budget.steps=500")
        too_large = bounds.oversize(value_text)
        if too_large:
            raise ValueError(too_large[0])
        value = toml_value(value_text)
        place: Any = self.values
        path: list[str | int] = []
        keys = path_text.strip().split(".")
        if len(keys) > bounds.DEEPEST:
            raise ValueError(f"the path has {len(keys):,} parts; at most {bounds.DEEPEST} are possible")
        for _, message in bounds.unfit_values([value, keys]):
            raise ValueError(message)
        for position, key in enumerate(keys):
            step = _step(place, key, path)
            path.append(step)
            if position == len(keys) - 1:
                if isinstance(place, dict) and path[0] == "budget" and len(path) == 2:
                    place.clear()  # a budget has either steps or seconds, so the new one replaces the other
                place[step] = value
            elif isinstance(place, dict):
                place = place.setdefault(step, {})
            else:
                place = place[step]
        self.overridden[tuple(path)] = f"--set {brief(assignment)}"


def builtin_suites() -> dict[str, str]:
    """Names and descriptions of the built-in suites."""
    return {name: str(read_document(name).values.get("description", "")) for name in builtin_names()}


def read_document(source: str | Path | Mapping[str, Any]) -> Document:
    """Read a suite from the name of a built-in suite, a path to a TOML file, or a mapping. Raises SuiteError."""
    if isinstance(source, Mapping):
        _refuse(Document(dict(source)))
        return Document(copy.deepcopy(dict(source)))
    text, file = read_text(source)
    too_large = bounds.oversize(text)
    if too_large:
        raise SuiteError([Problem(too_large[0], file, too_large[1])])
    try:
        document = Document(tomllib.loads(text), file)
        document.lines = toml_lines.line_numbers(text)
        _refuse(document)
        return document
    except ValueError as error:  # also a number with too many digits
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        message = str(error)[: place.start()].strip() if place else str(error)
        line = int(place.group(1)) if place else text.count("\n") + 1
        raise SuiteError([Problem(f"not valid TOML: {message}", file, line)]) from None


def _refuse(document: Document) -> None:
    """Raise SuiteError for values that no suite may have, at most a few of them."""
    problems = [document.problem(*found) for found in islice(bounds.unfit_values(document.values), 20)]
    if problems:
        raise SuiteError(problems)


def _step(place: Any, key: str, path: Sequence[str | int]) -> str | int:
    if isinstance(place, dict):
        return key
    if not isinstance(place, list):
        raise ValueError(f"'{_dotted(path)}' holds a value, not a table")
    if key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(place):
        return int(key)
    names = [item.get(named) for named in ("name", "label") for item in place if isinstance(item, dict)]
    if key in names:
        return names.index(key) % len(place)
    raise ValueError(f"'{_dotted(path)}' has no element '{key}' ({did_you_mean(key, [n for n in names if n])})")


def validate(document: Document) -> tuple[Suite | None, list[Problem]]:
    """Validate the structure of a suite. Returns the suite, or None and the problems.

    The names and options of plugins are validated by `resolve`.
    """
    try:
        return Suite.model_validate(document.values), []
    except ValidationError as error:
        return None, config_problems(document, (), error, Suite)


def config_problems(
    document: Document, base: Sequence[str | int], error: ValidationError, cls: type[BaseModel]
) -> list[Problem]:
    """The errors of a pydantic record as problems in the document, with suggestions for unknown keys."""
    problems = []
    for item in error.errors(include_url=False):
        path = (*base, *(part for part in item["loc"] if not str(part).endswith("]") or isinstance(part, int)))
        message, suggestion = item["msg"].removeprefix("Value error, "), ""
        if item["type"] == "extra_forbidden":
            owner = _owner(cls, item["loc"][:-1])
            message = f"there is no such key in {owner.__qualname__.replace('.', ' ')}"
            suggestion = did_you_mean(str(item["loc"][-1]), owner.model_fields)
        elif item["type"] == "missing":
            message = "this key is missing"
        elif item["type"] not in ("value_error", "assertion_error"):
            message = f"{message[0].lower()}{message[1:]}, got {brief(repr(item['input']))}"
            suggestion = _about_none(_owner(cls, item["loc"][:-1]), item)
        problems.append(document.problem(path, message, suggestion))
    return problems


def _about_none(owner: type[BaseModel], item: Mapping[str, Any]) -> str:
    """What to say of `none` with a value that is wrong."""
    if item["input"] == NONE:
        return f"this option cannot be {NONE}"
    return f'for no value, write "{NONE}"' if item["loc"] and may_be_none(owner, str(item["loc"][-1])) else ""


def _owner(cls: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    """The class of the record at a location inside a record of class `cls`."""
    for part in loc:
        if not isinstance(part, str) or part not in cls.model_fields:
            continue
        annotation = cls.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        cls = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), cls)
    return cls


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{brief(part)}" if text else brief(part)
    return text
