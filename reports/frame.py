"""Reading the long results frame."""

from __future__ import annotations

import pandas as pd


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a uniform frame that tell of a cell or an evaluation that did not end well."""
    return frame[~frame["outcome"].isin(["ok", ""])]


def family(sampler: str) -> str:
    """The name of a sampler without its options: `heun(steps=18)` is of family `heun`."""
    return sampler.split("(", 1)[0].strip()
