"""The paired comparison of two models on the datasets and seeds that both have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import DataError
from .statistics import mean_interval
from .summary import uniform_frame


@dataclass(frozen=True)
class PairedComparison:
    """The comparison of model `a` with model `b` on the (dataset, seed) pairs that both have.

    `difference` is the mean of a - b with its t-interval `low` to `high`. `wins`, `losses` and `ties` count the pairs
    in which a is better, worse or equal. `p_value` belongs to the two-sided paired t-test; it is None for fewer than
    two pairs, and if all differences are equal.
    """

    a: str
    b: str
    metric: str
    pairs: int
    difference: float
    low: float | None
    high: float | None
    wins: int
    losses: int
    ties: int
    p_value: float | None

    @property
    def tie(self) -> bool:
        """Whether the interval of the difference contains 0, or there is no interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def compare_paired(
    frame: pd.DataFrame, metric: str, a: str, b: str, *, sampler_a: str = "", sampler_b: str = "", level: float = 0.95
) -> PairedComparison:
    """Compare the models with labels `a` and `b` in a results frame by `metric`, paired by (dataset, seed).

    An effect of a dataset or seed that is equal for both models cancels in the differences. `sampler_a` and `sampler_b`
    name the sampler setting; "" takes the only one. The t-interval treats the pairs as independent, and it applies to
    these datasets, not to others.

    Raises DataError if a label has no values or several values for a pair, if the models share no pair, if the metric
    has no direction, and if the values of a pair differ in sample size, likelihood kind, budget or device, because
    such values cannot be compared.
    """
    rows = uniform_frame(frame)
    rows = rows[
        (rows["metric"] == metric) & (rows["outcome"] == "ok") & ~rows["superseded"] & np.isfinite(rows["value"])
    ]
    keys = ["dataset_id", "seed"]
    columns = ["value", "n", "likelihood", "budget", "device", "better"]
    sides = []
    for label, sampler in ((a, sampler_a), (b, sampler_b)):
        side = rows[(rows["label"] == label) & ((rows["sampler"] == sampler) if sampler else True)]
        if side.empty:
            raise DataError(f"'{label}' has no finite value of '{metric}'")
        if side.duplicated(keys).any():
            raise DataError(
                f"'{label}' has several values of '{metric}' for a dataset and seed: name its sampler setting"
            )
        sides.append(side.set_index(keys)[columns])
    both = sides[0].merge(sides[1], left_index=True, right_index=True, suffixes=("_a", "_b"))
    if both.empty:
        raise DataError(f"'{a}' and '{b}' have no dataset and seed in common with a value of '{metric}'")
    for column in columns[1:]:
        left, right = both[f"{column}_a"], both[f"{column}_b"]
        if not (left.eq(right) | (left.isna() & right.isna())).all():
            raise DataError(f"'{a}' and '{b}' differ in {column} of '{metric}': such values cannot be compared")
    better = both["better_a"].iloc[0]
    if better not in ("lower", "higher"):
        raise DataError(f"'{metric}' has no direction, so models cannot be compared by it: use another metric")
    differences = (both["value_a"] - both["value_b"]).to_numpy(float)
    sign = -1 if better == "lower" else 1
    mean, low, high = mean_interval(differences, level)
    spread = len(differences) > 1 and np.ptp(differences) > 0
    return PairedComparison(
        a=a,
        b=b,
        metric=metric,
        pairs=len(differences),
        difference=mean,
        low=low,
        high=high,
        wins=int((sign * differences > 0).sum()),
        losses=int((sign * differences < 0).sum()),
        ties=int((differences == 0).sum()),
        p_value=float(stats.ttest_1samp(differences, 0.0).pvalue) if spread else None,
    )
