"""The ranges over which `trilemma tune` searches an option, and their text form.

A field declares its range with `Field(..., json_schema_extra={"tune": "log:1e-4:1e-2"})`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

KEY = "tune"


@dataclass(frozen=True)
class Choices:
    """A list of values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`: whole ones if `whole`, evenly spaced in the logarithm if `log`."""

    low: float
    high: float
    log: bool
    whole: bool


Range = Choices | Interval


def parse_range(text: str) -> Range:
    """The range that a text means. Raises ValueError with a message.

    `1e-4:1e-2` is an interval, `16:64` one of whole numbers, `log:1e-4:1e-2` one in the logarithm, and `64|128|256` or
    `[64, 64]|[128, 128]` a list of values, each in TOML or a bare word. A single value is a list of one.
    """
    if "|" in text or ":" not in text:
        return Choices(tuple(_value(part.strip()) for part in text.split("|")))
    *scale, low, high = text.split(":")
    if scale not in ([], ["log"]):
        raise ValueError(f"'{text}' is no range: write LOW:HIGH, log:LOW:HIGH or A|B|C")
    ends = [_value(end.strip()) for end in (low, high)]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends) or not ends[0] < ends[1]:
        raise ValueError(f"'{text}' is no interval: give two numbers, the lower one first")
    if scale and ends[0] <= 0:
        raise ValueError(f"'{text}' has no logarithm: give a lower end above 0")
    return Interval(ends[0], ends[1], bool(scale), all(isinstance(end, int) for end in ends))


def declared(record: type[BaseModel]) -> dict[str, str]:
    """The ranges that the fields of a record declare, by field, as text."""
    found = {}
    for name, field in record.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and KEY in extra:
            found[name] = str(extra[KEY])
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        if not text or not text.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"'{text}' is no value: write a number, a word or another TOML value") from None
        return text
