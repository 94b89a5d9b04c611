"""The outcome of a search: what was searched, all trials, the best options, and a fragment of a suite with them."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..contracts.config import NONE
from ..execution.environment import versions
from .search import Trial
from .space import Axis, Options, defaults, options_of

PACKAGES = ("trilemma", "torch", "optuna")


@dataclass(frozen=True)
class Comparison:
    """The best options against the defaults on further seeds: the means, and their paired difference with its interval.

    The difference is best minus default. The bounds are None if there is no interval.
    """

    seeds: tuple[int, ...]
    default: float
    best: float
    difference: float
    low: float | None
    high: float | None

    def better(self, lower_is_better: bool) -> bool:
        """Whether the best options are better beyond the interval of the difference."""
        bound = self.high if lower_is_better else self.low
        return bound is not None and (bound < 0 if lower_is_better else bound > 0)


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search. `request` says what was searched; values are of the validation split."""

    command: str
    request: dict[str, Any]
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    comparison: Comparison | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the objective is better."""
        return bool(self.request["better"] == "lower")

    @property
    def default(self) -> Trial:
        """The trial of the default options, the first one."""
        return next(trial for trial in self.trials if trial.number == 0)

    @property
    def best(self) -> Trial:
        """The trial with the best value. Of equal ones it is the first, so the defaults win a tie."""
        valued = [trial for trial in self.trials if trial.value is not None]
        sign = 1 if self.lower_is_better else -1
        return min(valued, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=self.default)

    def changed(self) -> dict[str, Options]:
        """The best options that differ from the defaults, by their table in a suite."""
        axes = [axis for axis in self.axes if self.best.values[axis.key] != axis.default]
        return options_of(axes, self.best.values)

    def fragment(self) -> str:
        """The entry of a suite for the model with the best options, in TOML."""
        lines = ["[[models]]", f"name = {toml(self.request['model'])}"]
        lines += [f"{place} = {toml(options)}" for place, options in self.changed().items()]
        return "\n".join(lines) + "\n"

    def record(self) -> dict[str, Any]:
        """The outcome as a record for TOML and JSON."""
        compared = self.comparison
        return {
            "command": self.command,
            **self.request,
            "versions": {"python": platform.python_version(), **versions(PACKAGES)},
            "space": {axis.key: axis.text for axis in self.axes},
            "default": defaults(self.axes),
            "best": {"trial": self.best.number, **_value(self.best), "options": self.best.values},
            **({} if compared is None else {"comparison": {k: v for k, v in vars(compared).items() if v is not None}}),
            "trials": [{"number": trial.number, **_value(trial), "options": trial.values} for trial in self.trials],
        }

    def text(self) -> str:
        """The record in TOML."""
        return "\n".join(_document(self.record())) + "\n"


def _value(trial: Trial) -> dict[str, Any]:
    return {"why": trial.why} if trial.value is None else {"value": trial.value}


def _document(record: Mapping[str, Any]) -> Iterator[str]:
    yield "# Made by `trilemma tune`. Every value is of the validation split: no test data was used."
    record = {key: value for key, value in record.items() if value != {}}
    tables = {key: value for key, value in record.items() if isinstance(value, Mapping) and key != "budget"}
    for key, value in record.items():
        if key not in tables and key != "trials":
            yield f"{key} = {toml(value)}"
    for key, value in tables.items():
        yield f"\n[{key}]"
        yield from (f"{_key(name)} = {toml(part)}" for name, part in value.items())
    for trial in record["trials"]:
        yield "\n[[trials]]"
        yield from (f"{name} = {toml(part)}" for name, part in trial.items())


def toml(value: Any) -> str:
    """A value in TOML, on one line. None is the text `none`, as in suites."""
    if value is None:
        return toml(NONE)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(name)} = {toml(part)}" for name, part in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)
