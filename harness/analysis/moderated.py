"""Comparisons of few training seeds: moderated variances, intervals over seeds, and tests against the leader.

With three seeds, the variance of one model is hardly known. The variances of all models of a table are therefore
shrunk towards a common one (Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
expression in microarray experiments", the method of limma). Numbers that cannot be below 0 are compared on the scale
log(value + c), on which the variances are alike; c is about what chance does to the value of the true distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .points import ROUNDING, joined
from .statistics import t_quantile, t_tail

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_SEEDS = 3
"""With fewer training seeds there is no interval over seeds, and models are not compared."""

_LARGEST_LOG = 100.0  # a factor beyond it says no more than that nothing is known
_HIGHEST_LEVEL = 0.035  # of two models, each may be the leader, so that twice the level is the chance of an error
_LEAST_POOL = 3  # rows whose variances differ from 0 that a common variance needs


def level(models: int, seeds: int) -> float:
    """The level of Holm's test at which `models` models are compared with the leader among them.

    The leader is chosen by the same data, and few seeds say little about unequal variances, so that the nominal level
    is exceeded. This level was found by simulation: it refuses any of two to twenty identical models in at most 10 % of
    the tables with three seeds, and any of eight in at most 6 % with five.
    """
    base = {3: 0.09, 4: 0.07}.get(seeds, 0.047)
    return float(min(_HIGHEST_LEVEL, base / models**0.75))


def prior_variance(variances: Array, df: Array) -> tuple[float, float]:
    """The prior of variances `(k,)` with `df` (k,) degrees of freedom: its degrees of freedom and its variance.

    The prior says that a variance is s^2 d / X, where X has a chi-square distribution with d degrees of freedom. The
    estimate is by the moments of log variances (Smyth 2004, section 6.2). It is `(0, 0)` with fewer than three
    variances, and d is infinite if the variances do not differ by more than chance.
    """
    if len(variances) < _LEAST_POOL:
        return 0.0, 0.0
    e = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    spread = float(((e - e.mean()) ** 2).sum() / (len(e) - 1) - special.polygamma(1, df / 2).mean())
    if spread <= 1e-6:
        return math.inf, float(np.exp(e.mean()))
    d = 2 * _inverse_trigamma(spread)
    return d, float(np.exp(e.mean() + special.digamma(d / 2) - math.log(d / 2)))


def _inverse_trigamma(x: float) -> float:
    """The y > 0 with trigamma(y) = x, by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    y = 0.5 + 1 / x
    for _ in range(50):
        value = float(special.polygamma(1, y))
        step = value * (1 - value / x) / float(special.polygamma(2, y))
        y += step
        if abs(step) < 1e-10 * y:
            break
    return y


def holm(p: Array, level: float) -> Flags:
    """Which hypotheses Holm's step-down test rejects, from p-values `(k,)`."""
    order = np.argsort(p)
    steps = p[order] <= level / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), dtype=bool)
    rejected[order] = np.cumprod(steps).astype(bool)
    return rejected


@dataclass(frozen=True)
class Arms:
    """The numbers that are compared: `values[i]` holds the values of row i over its training seeds.

    `errors[i]` is the standard error that the metric itself gives for one value, 0 if it gives none. `lower` says that
    lower values are better. `offset` is the c of log(value + c); with None, values are compared as they are. `pooled`
    are the rows whose variances make the common one, by default all. Rows that do not vary with the seed keep out of it
    and are compared as constants, with the error of the metric. A variance larger than the common one is not shrunk,
    because a leader that varies much has often won by chance.

    `blocks[i]` are the means of row i over blocks of test points that all rows share, `(k,)` and a mean over its seeds,
    or None. Two rows that have them are compared with the error of their difference over the blocks, in place of the
    errors that the metric gives for each.
    """

    values: Sequence[Array]
    errors: Array
    lower: bool = True
    offset: float | None = None
    pooled: Flags | None = None
    blocks: Sequence[Array | None] = ()

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """The number of values of each row."""
        return np.array([len(v) for v in self.values])

    @cached_property
    def raw(self) -> Array:
        """The mean of each row."""
        return np.array([v.mean() for v in self.values])

    @cached_property
    def means(self) -> Array:
        """The mean of each row on the scale of the comparison, on which lower is better."""
        return np.array([self.on_scale(v).mean() for v in self.values])

    def on_scale(self, values: Array) -> Array:
        """Values on the scale of the comparison, on which lower is better."""
        if self.offset is None:
            return values if self.lower else -values
        scaled: Array = np.log(np.maximum(values + self.offset, self.offset / 10))
        return scaled if self.lower else -scaled

    @cached_property
    def _slopes(self) -> Array:
        """How fast the scale of the comparison changes at the mean of each row."""
        if self.offset is None:
            return np.ones(len(self.values))
        slopes: Array = 1 / np.maximum(self.raw + self.offset, self.offset / 2)
        return slopes

    @cached_property
    def own(self) -> Array:
        """The variance of one value that the metric gives, on the scale of the comparison."""
        squared: Array = (self.errors * self._slopes) ** 2
        return squared

    @cached_property
    def _sample(self) -> Array:
        return np.array([self.on_scale(v).var(ddof=1) if len(v) > 1 else 0.0 for v in self.values])

    @cached_property
    def constant(self) -> Flags:
        """Whether a row has one value only, or the same value for every seed."""
        spread = np.array([np.ptp(v) if len(v) else 0.0 for v in self.values])
        flags: Flags = spread <= 1e-9 * np.maximum(np.abs(self.raw), 1e-300)
        return flags

    @cached_property
    def _pool(self) -> Flags:
        varying = ~self.constant & (self._sample > 0)  # below rounding, the scale knows no variance
        return varying if self.pooled is None else varying & self.pooled

    @cached_property
    def prior(self) -> tuple[float, float]:
        """Degrees of freedom and variance of the prior, from the pooled rows that vary."""
        pool = self._pool
        return prior_variance(self._sample[pool], np.asarray(self.seeds[pool] - 1, dtype=np.float64))

    @cached_property
    def variances(self) -> Array:
        """The moderated variance of one value of each row, 0 for constant rows."""
        d, common = self.prior
        df = self.seeds - 1.0
        shrunk = np.full(len(df), common) if math.isinf(d) else (d * common + df * self._sample) / np.maximum(d + df, 1)
        return np.where(self.constant, 0.0, np.maximum(shrunk, self._sample))

    def df(self, *rows: int) -> float:
        """Degrees of freedom of the moderated variance of these rows together; infinite for constant rows."""
        varying = [row for row in rows if not self.constant[row]]
        if not varying:
            return math.inf
        own = float(sum(self.seeds[row] - 1 for row in varying))
        return min(self.prior[0] + own, max(own, float((self.seeds[self._pool] - 1).sum())))

    def error(self, row: int) -> float:
        """The standard error of the mean of a row. What the metric says about a single value is never dropped."""
        if self.constant[row]:
            return math.sqrt(self.own[row])
        return math.sqrt(max(self.variances[row], self.own[row]) / self.seeds[row])

    def interval(self, row: int, level: float = 0.95) -> tuple[float, float]:
        """The interval of the mean of a row over training seeds, never narrower than that of the metric.

        On the scale log(value + c) it is a factor on the mean. In simulations of three and five seeds its coverage is
        at least 93 %.
        """
        half = t_quantile(0.5 + level / 2, self.df(row)) * math.sqrt(self.variances[row] / max(self.seeds[row], 1))
        half, mean = float(half), float(self.raw[row])
        low, high = mean - half, mean + half
        if self.offset is not None:
            above = max(mean + self.offset, self.offset / 10)
            factor = math.exp(min(half, _LARGEST_LOG))
            low, high = min(mean, above / factor - self.offset), max(mean, above * factor - self.offset)
        own = float(special.ndtri(0.5 + level / 2) * self.errors[row])
        return min(low, mean - own), max(high, mean + own)

    def at_same_points(self, row: int, than: int) -> tuple[float, float] | None:
        """The error of the difference of two rows by the test points that they share, and its degrees of freedom."""
        one, other = (self.blocks[i] if self.blocks else None for i in (row, than))
        if one is None or other is None or len(one) != len(other):
            return None
        apart = one * self._slopes[row] - other * self._slopes[than]
        rounding = ROUNDING * float(max(self._slopes[row], self._slopes[than]))
        return math.hypot(float(apart.std(ddof=1)) / math.sqrt(len(apart)), rounding), len(apart) - 1.0

    def difference_error(self, row: int, than: int) -> tuple[float, float]:
        """The standard error of the difference of the means of two rows, and its degrees of freedom."""
        points = self.at_same_points(row, than)
        if points is None:
            return math.hypot(self.error(row), self.error(than)), self.df(row, than)
        of_seeds = math.sqrt(sum(self.variances[i] / self.seeds[i] for i in (row, than)))
        return joined((of_seeds, self.df(row, than)), points)

    def p_worse(self, row: int, than: int) -> float:
        """One-sided p-value of the hypothesis that `row` is no worse than row `than`."""
        error, df = self.difference_error(row, than)
        difference = float(self.means[row] - self.means[than])
        if error == 0:
            return 0.0 if difference > 0 else 1.0
        return t_tail(difference / error, df)

    def not_worse(self, rows: Sequence[int]) -> tuple[int, list[int]]:
        """The leader among `rows`, and the rows that cannot be told apart from it, the leader included."""
        leader = min(rows, key=lambda row: (self.means[row], row))
        others = [row for row in rows if row != leader]
        if not others:
            return leader, [leader]
        p = np.array([self.p_worse(row, leader) for row in others])
        refused = holm(p, level(len(rows), int(np.min(self.seeds[list(rows)]))))
        return leader, [leader, *(row for row, out in zip(others, refused, strict=True) if not out)]

    def resolution(self, rows: Sequence[int]) -> float | None:
        """About which factor (with an offset) or difference between two of `rows` is told apart in half of the cases.

        It is None for a single row, and if the errors are not finite.
        """
        if len(rows) < 2:
            return None
        if all(self.blocks and self.blocks[row] is not None for row in rows):
            ordered = sorted(rows, key=lambda row: self.means[row])
            neighbors = [self.difference_error(*pair) for pair in pairwise(ordered)]
            typical, df = (float(np.median(column)) for column in zip(*neighbors, strict=True))
        else:
            typical = math.sqrt(2) * float(np.median([self.error(row) for row in rows]))
            df = float(np.median([self.df(row, rows[0]) for row in rows]))
        tail = level(len(rows), int(np.min(self.seeds[list(rows)]))) / (len(rows) - 1)
        seen = -t_quantile(tail, df) * typical
        if not math.isfinite(seen):
            return None
        return seen if self.offset is None else math.exp(min(seen, _LARGEST_LOG))
