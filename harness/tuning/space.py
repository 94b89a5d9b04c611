"""The search space: the options of a model that are varied, and the values that they may take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ..contracts.tunable import Choices, Interval, Range, declared, parse_range
from ..errors import PluginError, TrilemmaError, did_you_mean

Options = dict[str, Any]
PLACES = ("recipe", "config")
"""The tables of a suite that hold options of training."""
DIGITS = 3
"""Significant digits of a number from an interval, so that the best options can be read and written down."""


@dataclass(frozen=True)
class Axis:
    """One option that is varied: its table in a suite, its name, its range, and the default of the model."""

    place: str
    name: str
    range: Range
    text: str
    default: Any

    @property
    def key(self) -> str:
        """The option with its table, such as `recipe.lr`."""
        return f"{self.place}.{self.name}"

    @property
    def fixed(self) -> bool:
        """Whether the range is a single value, which need not be the default of the model."""
        return isinstance(self.range, Choices) and len(self.range.values) == 1

    def encode(self, value: Any) -> Any:
        """A value as the search holds it: choices as JSON, because they may be lists."""
        return json.dumps(value) if isinstance(self.range, Choices) else value

    def decode(self, value: Any) -> Any:
        """The value that a model gets. Numbers from an interval are rounded, except for the default."""
        if isinstance(self.range, Choices):
            return json.loads(value)
        if self.range.whole or value == self.default:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.range.low), self.range.high)  # 0.9997 is not rounded to 1


def search_space(model: type[Any], given: Iterable[str] = ()) -> tuple[Axis, ...]:
    """The axes of the search: those `given` as OPTION=RANGE, or else those that the fields of the model declare.

    OPTION is a field of the recipe or of the config; `recipe.` or `config.` before it tells two of one name apart. The
    default of an option is always a part of its range, unless the range is a single value. Raises TrilemmaError.
    """
    records = _records(model)
    texts = [_split(text, records) for text in given] or [
        (place, name, text) for place, record in records.items() for name, text in declared(type(record)).items()
    ]
    if not texts:
        raise TrilemmaError(f"model '{model.name}' declares no ranges; give some, such as --space OPTION=log:1e-4:1e-2")
    axes = {(place, name): _axis(model, place, name, text, records[place]) for place, name, text in texts}
    return tuple(axes.values())


def _records(model: type[Any]) -> dict[str, BaseModel]:
    """The default records of a model by their table in a suite."""
    found: dict[str, BaseModel] = {}
    if getattr(model, "recipe", None) is not None:
        found["recipe"] = model.recipe
    found["config"] = model.Config()
    return found


def _split(text: str, records: Mapping[str, BaseModel]) -> tuple[str, str, str]:
    """The table, the option and the range in `OPTION=RANGE`."""
    path, equals, range_text = text.partition("=")
    place, dot, name = path.strip().rpartition(".")
    if not equals or not name or (dot and place not in records):
        raise TrilemmaError(f"--space {text}: expected OPTION=RANGE, such as lr=log:1e-4:1e-2 or config.hidden=[64,64]")
    homes = [home for home in ([place] if dot else records) if name in type(records[home]).model_fields]
    if not homes:
        known = {field for home in ([place] if dot else records) for field in type(records[home]).model_fields}
        raise TrilemmaError(f"--space {text}: there is no option '{name}' ({did_you_mean(name, known)})")
    if len(homes) > 1:
        both = " or ".join(f"{home}.{name}" for home in homes)
        raise TrilemmaError(f"--space {text}: the recipe and the config have this option; write {both}")
    return homes[0], name, range_text.strip()


def _axis(model: type[Any], place: str, name: str, text: str, record: BaseModel) -> Axis:
    default = record.model_dump(mode="json")[name]
    try:
        range_ = parse_range(text)
        values = (range_.low, range_.high) if isinstance(range_, Interval) else range_.values
        valid = tuple(_valid(record, name, value) for value in values)
        range_ = _with_default(range_ if isinstance(range_, Interval) else Choices(valid), default)
    except ValidationError as error:
        said = f"{error.errors()[0]['msg']}, got {error.errors()[0]['input']!r}"
        raise TrilemmaError(f"the range '{text}' of option '{name}' of model '{model.name}': {said}") from None
    except ValueError as error:
        raise PluginError(f"the range of option '{name}' of model '{model.name}': {error}") from None
    return Axis(place, name, range_, text, default)


def _valid(record: BaseModel, name: str, value: Any) -> Any:
    """A value as the record holds it, in JSON. Raises ValidationError for one that it refuses."""
    return type(record).model_validate({**record.model_dump(), name: value}).model_dump(mode="json")[name]


def _with_default(range_: Range, default: Any) -> Range:
    """The range with the default in it, so that the search starts from what it has to beat."""
    if isinstance(range_, Choices):
        if len(range_.values) == 1 or default in range_.values:
            return range_
        return Choices((*range_.values, default))
    if isinstance(default, bool) or not isinstance(default, int | float) or (range_.log and default <= 0):
        written = "none" if default is None else default
        raise ValueError(f"the default {written} is no number in an interval; list the values, as in {written}|A|B")
    whole = range_.whole and float(default).is_integer()  # else the default would be rounded out of the interval
    return replace(range_, low=min(range_.low, default), high=max(range_.high, default), whole=whole)


def options_of(axes: Iterable[Axis], values: Mapping[str, Any]) -> dict[str, Options]:
    """The options of a trial by their table, from the values by key."""
    found: dict[str, Options] = {}
    for axis in axes:
        found.setdefault(axis.place, {})[axis.name] = values[axis.key]
    return found


def defaults(axes: Iterable[Axis]) -> Options:
    """The default of every axis by its key; a range of a single value gives this one."""
    return {axis.key: _first(axis) for axis in axes}


def _first(axis: Axis) -> Any:
    return axis.range.values[0] if axis.fixed and isinstance(axis.range, Choices) else axis.default
