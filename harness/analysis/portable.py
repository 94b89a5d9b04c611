"""Results without the absolute paths of the machine that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ..text import short_paths

LABELS = ("label", "dataset_id", "sampler")
"""Columns that tell results apart, so different texts must stay different."""


def shortened(value: Any) -> Any:
    """A JSON-able record with every absolute path in its texts shortened."""
    if isinstance(value, str):
        return short_paths(value)
    if isinstance(value, Mapping):
        return {key: shortened(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(element) for element in value]
    return value


def short_labels(labels: Iterable[Any]) -> dict[str, str]:
    """The short form of each label. Labels that differ in their folders only get a number."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        if not isinstance(label, str) or label in found:
            continue
        short = wanted = short_paths(label)
        number = 1
        while short in taken:
            number += 1
            short = f"{wanted} #{number}"
        found[label] = short
        taken.add(short)
    return found


def shortened_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A results frame with every absolute path in its texts shortened."""
    out = frame.copy()
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name].dtype):
            continue
        column = frame[name].astype(object)
        texts = {value for value in column if isinstance(value, str)}
        short = short_labels(frame[name]) if name in LABELS else {text: short_paths(text) for text in texts}
        if str(frame[name].dtype) == "str" and all(text == own for text, own in short.items()):
            continue  # most columns hold no path, and each change of a column takes long
        out[name] = column.map(lambda value, short=short: short[value] if isinstance(value, str) else shortened(value))
    return out
