"""Comparisons within training seeds: of numbers that come from the same trained models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .moderated import LEAST_SEEDS, Arms, Array, holm, level
from .points import joined
from .statistics import t_tail


def paired(arms: Arms, rows: Sequence[int], keys: Sequence[Sequence[int]]) -> tuple[int, list[int]]:
    """The leader among `rows`, and the rows not told apart from it, by differences within the seeds that they share.

    It is for the sampler settings of one model, which are drawn from the same trained models: what a training does to
    all its samplers cancels. `keys[row]` are the seeds of `arms.values[row]`. Raises no error for rows that share fewer
    than three seeds with the leader; they cannot be told apart from it.
    """
    leader = min(rows, key=lambda row: (arms.means[row], row))
    others = [row for row in rows if row != leader]
    differences, points = [], [arms.at_same_points(row, leader) for row in others]
    for row in others:
        shared = sorted(set(keys[row]) & set(keys[leader]))
        own, best = [arms.on_scale(arms.values[r][[list(keys[r]).index(s) for s in shared]]) for r in (row, leader)]
        differences.append(own - best)
    if not others:
        return leader, [leader]
    pairs = Arms(differences, own_errors(arms, [(row, leader) for row in others], points))
    p = np.array([
        _p_above_zero(pairs, i, points[i]) if pairs.seeds[i] >= LEAST_SEEDS else 1.0 for i in range(len(others))
    ])  # fmt: skip
    refused = holm(p, level(len(rows), max(LEAST_SEEDS, int(np.min(pairs.seeds)))))
    return leader, [leader, *(row for row, out in zip(others, refused, strict=True) if not out)]


def own_errors(arms: Arms, pairs: Sequence[tuple[int, int]], points: Sequence[tuple[float, float] | None]) -> Array:
    """The errors that the metric gives for differences of rows at one seed, 0 where `points` has that of both."""
    shared = np.array([error is not None for error in points], dtype=bool)
    return np.where(shared, 0.0, [math.sqrt(arms.own[i] + arms.own[j]) for i, j in pairs])


def with_points(pairs: Arms, row: int, points: tuple[float, float] | None) -> tuple[float, float]:
    """The error of the mean of a row of differences, and its degrees of freedom, with that of the points they share.

    The points are the same for all seeds, so that their error does not fall with the number of seeds.
    """
    of_seeds = pairs.error(row), pairs.df(row)
    return of_seeds if points is None else joined(of_seeds, points)


def _p_above_zero(arms: Arms, row: int, points: tuple[float, float] | None) -> float:
    error, df = with_points(arms, row, points)
    if error == 0:
        return 0.0 if arms.means[row] > 0 else 1.0
    return t_tail(float(arms.means[row]) / error, df)
