"""The limits of a suite: sizes beyond which it is a mistake, and text that no name may hold. All are checked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..text import unfit
from .toml_lines import tokens

MOST_TOKENS = 100_000
LONGEST_TEXT = 4_096
DEEPEST = 32
DEEPEST_BRACKETS = 100
"""More open brackets than this are not parsed. It is more than `DEEPEST`, because brackets may also lack their end."""
MOST_COMBINATIONS = 10_000
"""Of one grid, and of the sampler settings of one model."""
MOST_SEEDS = 100_000
MOST_CELLS = 100_000
MOST_EVALUATIONS = 1_000_000
WHOLE = range(-(2**63), 2**63)
"""The whole numbers that TOML and tensors can hold."""

Place = tuple[str | int, ...]


def oversize(text: str) -> tuple[str, int] | None:
    """What is too large in a TOML document to be parsed, with its line (from 1); None if nothing is."""
    depth = dots = 0
    for number, (kind, token, line) in enumerate(tokens(text)):
        if number >= MOST_TOKENS:
            return f"the document has more than {MOST_TOKENS:,} keys, values and marks", line
        if len(token) > LONGEST_TEXT:
            return f"a text of {len(token):,} characters; at most {LONGEST_TEXT:,} are possible", line
        if kind == "open":
            depth += len(token)
        elif kind == "close":
            depth -= len(token)
        dots = dots + 1 if token == "." else dots if kind in ("bare", "string") else 0
        if depth > DEEPEST_BRACKETS or dots >= DEEPEST:
            return f"it is nested more than {DEEPEST} levels deep", line
    return None


def unfit_values(values: Any) -> Iterator[tuple[Place, str]]:
    """Yield the places in the values of a suite that no suite may have, and what is wrong there.

    These are values that are nested too deep, too many or too large, and text that is not a plain line.
    """
    count = 0
    waiting: list[tuple[Place, Any]] = [((), values)]
    while waiting:
        path, value = waiting.pop()
        count += 1
        if count > MOST_TOKENS:
            yield path, f"the suite has more than {MOST_TOKENS:,} values"
            return
        if isinstance(value, Mapping | list | tuple):
            if len(path) >= DEEPEST:
                yield path[:4], f"it is nested more than {DEEPEST} levels deep"
                return
            keys = list(value) if isinstance(value, Mapping) else []
            yield from ((path, f"a key {wrong}") for key in keys if (wrong := _wrong(str(key))))
            inner = list(value.items() if isinstance(value, Mapping) else enumerate(value))
            waiting += [((*path, key), element) for key, element in reversed(inner)]
        elif isinstance(value, str):
            if wrong := _wrong(value):
                yield path, f"this text {wrong}"
        elif isinstance(value, int) and value not in WHOLE:
            yield path, f"this whole number has more than 64 bits ({value.bit_length():,})"


def too_many_seeds(seeds: Any) -> str:
    """What is wrong with the value of `seeds` if it means too many of them; empty if it does not."""
    count = len(seeds) if isinstance(seeds, list) else seeds if isinstance(seeds, int) else 0
    return f"{count:,} seeds; at most {MOST_SEEDS:,} are possible" if count > MOST_SEEDS else ""


def _wrong(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        return f"has {len(text):,} characters; at most {LONGEST_TEXT:,} are possible"
    held = unfit(text)
    return f"holds {held}; use one line of plain text" if held else ""
