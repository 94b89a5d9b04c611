"""Settings of a sampler: its defaults with fewer steps, and other values of its options."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from ..contracts.model import Sampler
from ..errors import TrilemmaError

FEW = 10
"""The number that replaces larger ones among the options of a sampler, most of which are numbers of steps."""

_NUMBERS = 3


def shortened(sampler: Sampler) -> Sampler:
    """The sampler with no whole number above `FEW` among its options; as it is if that is not valid."""
    large = {key: FEW for key, value in _options(sampler) if type(value) is int and value > FEW}
    return (changed_to(sampler, large) if large else None) or sampler


def told(sampler: Sampler, usual: Sampler) -> str:
    """What of a sampler setting is not as in `usual`, in words; "" if nothing."""
    changes = [f"{key}={value}" for key, value in _options(sampler) if value != getattr(usual, key)]
    return f" with {', '.join(changes)}" if changes else ""


def changed_to(sampler: Sampler, values: dict[str, Any]) -> Sampler | None:
    """The sampler with other values; None if they are not valid."""
    try:
        return type(sampler).model_validate(sampler.model_dump() | values)
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


def _options(sampler: Sampler) -> Iterator[tuple[str, Any]]:
    for key in type(sampler).model_fields:
        yield key, getattr(sampler, key)
