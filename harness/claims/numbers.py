"""The numbers of the arms of claims, from the rows of a results frame that may count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..analysis.frames import told, uniform_frame
from .evidence import Array

Key = tuple[str, str, str, str]
"""Label of the model, sampler setting, dataset and quantity."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of an arm over its seeds, with the standard error of one value that the metric gives.

    `blocks` are means over seeds of the means over blocks of the test points, `(k,)`, if each value has them.
    """

    values: dict[int, float]
    error: float
    noise: float
    better: str
    unit: str
    marks: tuple[str, ...]
    blocks: Array | None = None


NOTHING = Numbers({}, 0.0, math.nan, "", "", ())
Results = Mapping[Key, Numbers]


class Table:
    """The rows of a frame that may count, by training steps and arm."""

    def __init__(self, frame: pd.DataFrame) -> None:
        rows = uniform_frame(frame)
        rows = rows[~rows["superseded"] & rows["budget"].str.endswith(" steps")]
        self._good = rows[rows["outcome"] == "ok"]
        arm = ["budget", "label", "sampler", "dataset_id", "metric"]
        self._arms = self._good.groupby(arm, sort=False).indices if len(self._good) else {}
        self._failed: dict[tuple[str, str, str], set[str]] = {}
        failed = rows[~rows["outcome"].isin(["ok", "", "unsupported", "interrupted"])]
        for row in failed.itertuples():
            self._failed.setdefault((str(row.budget), str(row.label), str(row.dataset_id)), set()).add(str(row.outcome))

    def numbers(self, steps: int, key: Key, seeds: Sequence[int]) -> Numbers:
        """The numbers of an arm."""
        places = self._arms.get((f"{steps} steps", *key))
        if places is None:
            return NOTHING
        found = self._good.iloc[places]
        return _numbers(found[found["seed"].isin(list(seeds))])

    def failures(self, steps: int, key: Key) -> list[str]:
        """The outcomes of the cells and evaluations of an arm that failed."""
        return sorted(self._failed.get((f"{steps} steps", key[0], key[2]), ()))


def _numbers(found: pd.DataFrame) -> Numbers:
    half = (found["ci_high"] - found["ci_low"]) / 2
    half = half[np.isfinite(half)]
    first = found.iloc[0] if len(found) else None
    pairs = zip(found["seed"].tolist(), found["value"].astype(float).tolist(), strict=True)
    return Numbers(
        values={int(seed): value for seed, value in pairs if not math.isnan(value)},
        error=float(half.mean() / ndtri(0.975)) if len(half) else 0.0,
        noise=float(found["noise"].median()) if len(found) else math.nan,
        better="" if first is None else str(first["better"]),
        unit="" if first is None else str(first["unit"]),
        marks=tuple(dict.fromkeys(mark for text in found["marks"] for mark in text.split("\n") if mark)),
        blocks=_blocks(found),
    )


def _blocks(found: pd.DataFrame) -> Array | None:
    """The mean over rows of the means over blocks of the test points; None if a row lacks them or has others."""
    blocks = [told(text).get("block_means", []) for text in found["details"]]
    sizes = {len(each) for each in blocks}
    if len(sizes) != 1 or 0 in sizes:
        return None
    means: Array = np.array(blocks).mean(0)
    return means if found["n"].nunique() == 1 else None
