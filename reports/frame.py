"""Helpers for reading the results frame."""

from __future__ import annotations

import pandas as pd


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a uniform frame whose cell or evaluation has another outcome than `ok`."""
    return frame[~frame["outcome"].isin(["ok", ""])]


def family(sampler: str) -> str:
    """The name of a sampler setting without its options, such as `heun` for `heun(steps=18)`."""
    return sampler.split("(", 1)[0].strip()
