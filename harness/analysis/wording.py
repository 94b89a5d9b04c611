"""How numbers, names and intervals are written in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TINY = 1e-6
_CROWD = 6  # most names in a sentence


@dataclass(frozen=True)
class Number:
    """A number in a sentence: its text, its 95 % interval in the same unit, and what it is, in words."""

    text: str
    interval: str = ""
    about: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


Part = str | Number
"""A part of a sentence."""


def number(value: float, digits: int = 3) -> str:
    """A number in at most `digits` significant digits. Numbers too small to mean anything are `0` or `< 1e-6`."""
    if not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "-infinite"}.get(value, "-")
    if abs(value) < TINY:
        return "0" if value == 0 else "< 1e-6"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text or abs(value) >= 1000 else text


def with_interval(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """A value and its interval, in the decimals that the interval supports; the second is "" without an interval."""
    if low is None or high is None or not high > low:
        return number(value), ""
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 2)))
    if decimals > -math.log10(TINY):
        return number(value), ""
    shown = [f"{x:.{decimals}f}" for x in (value, low, high)]
    value_, low_, high_ = (x.lstrip("-") if float(x) == 0 else x for x in shown)
    return value_, f"{low_} to {high_}"


def span(values: Iterable[float], unit: str) -> str:
    """A value with its unit, or the range of several. Short times are in milliseconds."""
    values = list(values)
    if unit == "s" and min(values) < 1:
        values, unit = [value * 1e3 for value in values], "ms"
    low, high = number(min(values)), number(max(values))
    return f"{low if low == high else f'{low} to {high}'} {unit}".rstrip()


def name(line: Mapping[str, Any]) -> str:
    """A model with its sampler setting."""
    return f"{line['label']} [{line['sampler']}]" if line["sampler"] else str(line["label"])


def listing(names: Iterable[str]) -> str:
    """Names in a sentence; more than six are counted."""
    names = list(dict.fromkeys(names))
    if len(names) > _CROWD:
        names = [*names[: _CROWD - 1], f"{len(names) - _CROWD + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def series(items: Iterable[Iterable[Part]]) -> list[Part]:
    """Several short phrases as one: `a, b and c`."""
    phrases = [list(item) for item in items]
    joined: list[Part] = []
    for place, phrase in enumerate(phrases):
        if place:
            joined.append(" and " if place == len(phrases) - 1 else ", ")
        joined += phrase
    return joined
