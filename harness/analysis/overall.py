"""One summary over all datasets: interquartile means, probabilities of improvement, and a Bayesian signed-rank test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .aggregates import interquartile_mean, probability_of_improvement, stratified_interval
from .arenas import Arena, Record, deciding_among
from .moderated import LEAST_SEEDS
from .summary import Judged, judge

Array = NDArray[np.float64]
DRAWS = 4000
LEAST_DATASETS = 5
"""With fewer datasets there is no signed-rank test: of identical models it calls one better in a third of the cases."""


def overall(frame: pd.DataFrame | Judged) -> list[dict[str, Any]]:
    """Summarize the quality of models over datasets, one record per budget and device that has at least two datasets.

    Under a budget in seconds, each machine of training (`trained_on`) has a record of its own.

    A model enters with its best sampler setting on each dataset. Its score is log(1 + value / c), where c is about what
    chance does to the value of the true distribution, so that datasets have equal weight. A record has

    - `datasets`: the datasets on which all `models` have enough seeds; `left_out`: models that lack one of them.
    - `models`: for each model the interquartile mean of its scores over (dataset, seed) with its interval under the
      stratified bootstrap (Agarwal et al. 2021), best first.
    - `pairs`: for each model and the best one, the probability that a run of the best is better on a random dataset
      with its interval, and the probabilities of the Bayesian signed-rank test that the best is practically `better`,
      `equal` or `worse` (Benavoli et al. 2014), where differences below c are practically equal. With fewer than five
      datasets `practically` is None, because the test says too much. The best model has been chosen by the same data,
      so that all these probabilities are too high for it.

    Marked rows and controls that get the true distribution are left out.
    """
    judged = judge(frame)
    keys = ("budget", "device", "trained_on")
    groups: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    for row in judged.records:
        if row.get("metric"):
            own = groups.setdefault(tuple(row[key] for key in keys), {})
            own.setdefault(row["dataset_id"], []).append(row)
    found = []
    for place, datasets in groups.items():
        where = dict(zip(keys, place, strict=True))
        deciding = []
        for dataset, rows in datasets.items():
            key = {"dataset_id": dataset, **where, "metric": deciding_among(rows, "quality")}
            deciding += [arena for arena in judged.arenas if key.items() <= arena.key.items()]
        record = _record(deciding)
        if record is not None:
            found.append({**where, **record})
    return found


def signed_rank(differences: Array, rope: float, *, seed: int = 0) -> tuple[float, float, float]:
    """The Bayesian signed-rank test (Benavoli et al. 2014, "A Bayesian Wilcoxon signed-rank test").

    `differences` (n,) are those of two models on n datasets. The distribution of differences has a Dirichlet process
    prior of strength 1/2 at 0. Returns the posterior probabilities that the median of averages of two differences lies
    below -`rope`, within it, and above it.
    """
    z = np.concatenate([[0.0], differences])
    weights = np.random.default_rng(seed).dirichlet([0.5, *np.ones(len(differences))], DRAWS)
    average = (z[:, None] + z[None, :]) / 2
    shares = np.stack(
        [
            np.einsum("di,ij,dj->d", weights, region.astype(float), weights)
            for region in (average < -rope, np.abs(average) <= rope, average > rope)
        ]
    )
    most = shares.argmax(0)
    low, middle, high = (float((most == k).mean()) for k in range(3))
    return low, middle, high


def _record(deciding: Sequence[Arena]) -> dict[str, Any] | None:
    columns = [column for arena in deciding if (column := _column(arena))]
    if len(columns) < 2:
        return None
    everyone = list(dict.fromkeys(label for column in columns for label in column))
    models = [label for label in everyone if all(label in column for column in columns)]
    if not models:
        return None
    seeds = min(len(column[label][0]) for column in columns for label in models)
    scores = {label: np.stack([column[label][0][:seeds] for column in columns]) for label in models}
    order = sorted(models, key=lambda label: interquartile_mean(scores[label]))
    best = order[0]
    lines, pairs = [], []
    for label in order:
        value, low, high = stratified_interval(scores[label])
        lines.append({"label": label, "score": value, "low": low, "high": high, "control": columns[0][label][2]})
        if label == best:
            continue
        chance, chance_low, chance_high = probability_of_improvement(scores[best], scores[label])
        practically = None
        if len(columns) >= LEAST_DATASETS:
            units = np.array([(column[label][1] - column[best][1]) for column in columns])
            practically = dict(zip(("worse", "equal", "better"), signed_rank(units, 1.0), strict=True))
        pairs.append(
            {
                "better": best,
                "than": label,
                "probability_of_improvement": chance,
                "low": chance_low,
                "high": chance_high,
                "practically": practically,
            }
        )
    return {
        "criterion": "quality",
        "datasets": [arena.key["dataset_id"] for arena in deciding if _column(arena)],
        "seeds": seeds,
        "models": lines,
        "pairs": pairs,
        "left_out": [label for label in everyone if label not in models],
    }


def _column(arena: Arena) -> dict[str, tuple[Array, float, bool]]:
    """For each model: its scores over seeds, its value in units of c, and whether it is a control."""
    arms = arena.arms
    found: dict[str, tuple[Array, float, bool]] = {}
    best: dict[str, float] = {}
    for i, row in enumerate(arena.rows):
        record = arena.records[row]
        label = str(record["label"])
        if record["marked"] or record["truth"] or arms.seeds[i] < LEAST_SEEDS:
            continue
        if arms.means[i] < best.get(label, math.inf):
            best[label] = float(arms.means[i])
            offset = arms.offset or 1.0
            score = arms.on_scale(arms.values[i]) - (math.log(offset) if arms.offset else 0.0)
            value = float(arms.raw[i]) if arms.lower else -float(arms.raw[i])
            found[label] = (score, value / offset, bool(record["control"]))
    return found
