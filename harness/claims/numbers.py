"""The numbers of the arms of claims, from the rows of a results frame that may count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..analysis.frames import told, uniform_frame
from ..analysis.points import block_means, over_seeds
from .evidence import Array

Key = tuple[str, str, str, str]
"""Label of the model, sampler setting, dataset and quantity."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of an arm over its seeds, with the standard error of one value that the metric gives.

    `blocks` are means over seeds of the means over blocks of the test points, `(k,)`, if each value has them. `points`
    says which points these are: their number and the identity of their dataset.
    """

    values: dict[int, float]
    error: float
    noise: float
    better: str
    unit: str
    marks: tuple[str, ...]
    blocks: Array | None = None
    points: tuple[float, str] | None = None


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
    kept = found[found["value"].notna()].drop_duplicates("seed", keep="last")
    half = (kept["ci_high"] - kept["ci_low"]) / 2
    half = half[np.isfinite(half)]
    first = found.iloc[0] if len(found) else None
    points = _points(kept)
    return Numbers(
        values={int(seed): float(value) for seed, value in zip(kept["seed"], kept["value"], strict=True)},
        error=float(half.mean() / ndtri(0.975)) if len(half) else 0.0,
        noise=float(found["noise"].median()) if len(found) else math.nan,
        better="" if first is None else str(first["better"]),
        unit="" if first is None else str(first["unit"]),
        marks=tuple(dict.fromkeys(mark for text in found["marks"] for mark in text.split("\n") if mark)),
        blocks=None if points is None else _blocks(kept),
        points=points,
    )


def _points(kept: pd.DataFrame) -> tuple[float, str] | None:
    """The number of test points and the identity of their dataset, in all rows; None if rows differ or do not say."""
    sizes = kept["n"].unique()
    datasets = kept["data_id"].unique()
    if len(sizes) != 1 or len(datasets) != 1 or math.isnan(sizes[0]):
        return None
    return float(sizes[0]), str(datasets[0])


def _blocks(kept: pd.DataFrame) -> Array | None:
    """The mean over rows of the means over blocks of the test points; None if a row lacks them or has others."""
    pairs = zip(kept["details"], kept["value"], strict=True)
    return over_seeds([block_means(told(text), float(value)) for text, value in pairs])
