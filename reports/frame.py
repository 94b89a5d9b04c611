"""Helpers for reading the results frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a uniform frame whose cell or evaluation has another outcome than `ok`."""
    return frame[~frame["outcome"].isin(["ok", ""])]


def family(sampler: str) -> str:
    """The name of a sampler setting without its options, such as `heun` for `heun(steps=18)`."""
    return sampler.split("(", 1)[0].strip()


def first_row(rows: pd.DataFrame) -> Any:
    """The first row, with its columns as attributes; `itertuples` would make a class for it, which takes long."""
    return SimpleNamespace(**dict(zip(rows.columns, rows.iloc[0], strict=True)))
