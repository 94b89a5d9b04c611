"""Settings of models and samplers: their defaults with smaller numbers, and other values of the options."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError

from ..contracts.config import Config
from ..contracts.model import Sampler
from ..errors import TrilemmaError

FEW_STEPS = 10
"""What replaces larger whole numbers among the options of a sampler, most of which are numbers of steps."""
FEW_POINTS = 1000
"""What replaces larger whole numbers among the options of a model, most of which are numbers of points."""

Options = TypeVar("Options", bound=Config)
_NUMBERS = 3


def shortened(options: Options, most: int) -> Options:
    """The options with no whole number above `most`; as they are if that is not valid."""
    large = {key: most for key, value in _values(options) if type(value) is int and value > most}
    return (changed_to(options, large) if large else None) or options


def told(sampler: Sampler, usual: Sampler) -> str:
    """What of a sampler setting is not as in `usual`, in words; "" if nothing."""
    changes = [f"{key}={value}" for key, value in _values(sampler) if value != getattr(usual, key)]
    return f" with {', '.join(changes)}" if changes else ""


def changed_to(options: Options, values: dict[str, Any]) -> Options | None:
    """The options with other values; None if they are not valid."""
    try:
        return type(options).model_validate(options.model_dump() | values)
    except (ValidationError, TrilemmaError, ValueError):
        return None


def alternatives(sampler: Sampler, key: str) -> Iterator[Any]:
    """Valid values of an option besides its present one: up to three numbers, or all values of a choice."""
    value, annotation = getattr(sampler, key), type(sampler).model_fields[key].annotation
    candidates: list[Any] = []
    for part in get_args(annotation) if get_origin(annotation) in (types.UnionType,) else (annotation,):
        if get_origin(part) is Literal:
            candidates += get_args(part)
        elif part is bool:
            candidates += [True, False]
        elif part is int:
            number = value if isinstance(value, int) else 4
            candidates += [number // 2, number + 1, number - 1]
        elif part is float:
            real = float(value) if isinstance(value, int | float) else 0.5
            candidates += [real / 2, real * 1.5, real / 100] if real else [0.1, 1.0]
    found = 0
    for candidate in candidates:
        if (
            candidate != value
            and changed_to(sampler, {key: candidate}) is not None
            and (found < _NUMBERS or isinstance(candidate, str))
        ):
            found += 1
            yield candidate


def _values(options: Config) -> Iterator[tuple[str, Any]]:
    for key in type(options).model_fields:
        yield key, getattr(options, key)
