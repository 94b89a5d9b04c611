"""The evidence for and against a claim: p-values of its comparisons over training seeds, and verdicts.

A claim is a conjunction of comparisons, so its p-value is the largest of theirs (an intersection-union test). Whether
it is contradicted is tested by the smallest of the opposite p-values, times their number (Bonferroni). Over all claims
of a registry, the false discovery rate is controlled by the procedure of Benjamini & Hochberg (1995). Decisions on the
direction are then right at the same level (Benjamini & Yekutieli 2005, "False discovery rate-adjusted multiple
confidence intervals for selected parameters", section 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis.moderated import Arms
from ..analysis.points import joined
from ..analysis.statistics import t_quantile, t_tail

Array = NDArray[np.float64]
Expect = Literal["lower", "higher", "equal"]
Verdict = Literal["reproduced", "contradicted", "inconclusive", "not run"]

LEVEL = 0.05
"""The false discovery rate of the verdicts of a registry."""
NOMINAL = 0.03
"""The level at which p-values are compared. Those of five seeds whose arms have unequal variances are a little too
small: in simulated registries of empty comparisons, .05 gave a false verdict in .061 of 1,500, and .03 in .048.
"""
LEAST_SEEDS = 5
"""With fewer seeds there is no verdict: in simulations, three gave false ones more often than `LEVEL` allows."""
POWER = 0.8
"""The power at which a number of seeds counts as enough to decide."""
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Difference:
    """The difference of two arms on the scale of their comparison: estimate, standard error, degrees of freedom.

    `seeds` is the smaller number of seeds of the two. `fixed` is the part of the error that more seeds do not reduce,
    with `fixed_df` degrees of freedom, and `seeds_df` are those of the other part; None if it is the whole error.
    """

    estimate: float
    error: float
    df: float
    seeds: int
    fixed: float = 0.0
    fixed_df: float = math.inf
    seeds_df: float | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of the difference."""
        half = t_quantile(0.5 + level / 2, self.df) * self.error if self.error > 0 else 0.0
        return self.estimate - half, self.estimate + half

    def p_above(self, bound: float) -> float:
        """The one-sided p-value of the hypothesis that the difference is at most `bound`."""
        distance = self.estimate - bound
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return t_tail(distance / self.error, self.df) if math.isfinite(distance) else 1.0

    def p_below(self, bound: float) -> float:
        """The one-sided p-value of the hypothesis that the difference is at least `bound`."""
        return Difference(-self.estimate, self.error, self.df, self.seeds).p_above(-bound)


@dataclass(frozen=True)
class Evidence:
    """p-values for and against a claim, whether its arms are tied, and the number of seeds that would decide.

    `tied` says that a difference of the size of interest is excluded, where the claim needs one. `needed` is None if no
    feasible number decides.
    """

    p_for: float
    p_against: float
    tied: bool = False
    needed: int | None = None

    @property
    def p(self) -> float:
        """The two-sided p-value: of either verdict."""
        return min(1.0, 2 * min(self.p_for, self.p_against))


def difference(arms: Arms, a: int, b: int) -> Difference:
    """The difference of rows `a` and `b`, whose trainings are independent.

    Variances are moderated over the rows of `arms` (Smyth 2004), and their degrees of freedom are those of Welch and
    Satterthwaite, with the degrees of freedom of the prior added to each, and no more than all rows have together.
    """
    seeds = int(min(arms.seeds[a], arms.seeds[b]))
    errors = np.array([arms.error(a), arms.error(b)])
    own = np.array([arms.df(a), arms.df(b)])
    total = float((errors**2).sum())
    parts = float((errors**4 / own).sum())
    df = math.inf if parts == 0 else min(total**2 / parts, arms.df(a, b))
    return Difference(float(arms.means[a] - arms.means[b]), math.sqrt(total), df, seeds)


def paired_difference(
    arms: Arms, a: int, b: int, keys: Sequence[Sequence[int]], others: Sequence[int] = ()
) -> Difference:
    """The difference of rows `a` and `b`, which come from the same trained models, within the seeds that they share.

    `keys[row]` are the seeds of `arms.values[row]`. The variances of the differences of the `others` with `b` moderate
    that of `a` with `b`; they are further settings of the same models.
    """
    rows = [a, *(row for row in others if row not in (a, b))]
    found, errors = [], []
    for row in rows:
        shared = sorted(set(keys[row]) & set(keys[b]))
        own, base = (arms.on_scale(arms.values[r][[list(keys[r]).index(s) for s in shared]]) for r in (row, b))
        found.append(own - base)
        errors.append(math.hypot(math.sqrt(arms.own[row]), math.sqrt(arms.own[b])))
    pairs = Arms(found, np.array(errors))
    return Difference(float(pairs.means[0]), pairs.error(0), pairs.df(0), int(pairs.seeds[0]))


def at_same_points(found: Difference, blocks: Array) -> Difference:
    """The difference with the error of the test points, which both arms and all seeds share.

    `found` has the error of the seeds alone. `blocks` `(k,)` are differences of the means over blocks of the points.
    """
    fixed, fixed_df = float(blocks.std(ddof=1)) / math.sqrt(len(blocks)), len(blocks) - 1
    error, df = joined((found.error, found.df), (fixed, fixed_df))
    return Difference(found.estimate, error, df, found.seeds, fixed, fixed_df, seeds_df=found.df)


def weigh(found: Difference, expect: Expect, interest: float, level: float) -> Evidence:
    """The evidence of one comparison, whose smallest difference of interest is `interest`, on the same scale.

    That arms differ in a direction needs an estimate that is at least as large as what is of interest. That they are
    equal is a test of equivalence: two one-sided tests within `interest` (Schuirmann 1987). `level` is the one-sided
    level at which `needed` seeds would decide.
    """
    inside = max(found.p_below(interest), found.p_above(-interest))
    if expect == "equal":
        outside = min(1.0, 2 * min(found.p_above(interest), found.p_below(-interest)))
        distance = abs(abs(found.estimate) - interest)
        return Evidence(inside, outside, needed=seeds_needed(found, distance, level))
    seen = abs(found.estimate) >= interest
    above, below = (found.p_above(0.0), found.p_below(0.0)) if seen else (1.0, 1.0)
    p_for, p_against = (above, below) if expect == "higher" else (below, above)
    return Evidence(p_for, p_against, inside <= LEVEL, seeds_needed(found, max(abs(found.estimate), interest), level))


def seeds_needed(found: Difference, size: float, level: float) -> int | None:
    """With how many seeds a true difference of `size` is seen with a power of `POWER` at a one-sided level.

    It supposes that the standard error of the seeds falls with the root of their number, and that their degrees of
    freedom rise with it; the error of the test points stays. None if it is more than 10,000.
    """
    if size <= 0 or not math.isfinite(found.error) or not math.isfinite(size):
        return None
    one = math.sqrt(max(found.error**2 - found.fixed**2, 0.0) * found.seeds)  # of one seed
    per_seed = (found.df if found.seeds_df is None else found.seeds_df) / max(found.seeds - 1, 1)

    def enough(seeds: int) -> bool:
        error, df = joined((one / math.sqrt(seeds), per_seed * (seeds - 1)), (found.fixed, found.fixed_df))
        return (t_quantile(1 - level, df) + t_quantile(POWER, df)) * error <= size

    low, high = LEAST_SEEDS - 1, MOST_SEEDS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def conjunction(parts: Sequence[Evidence]) -> Evidence:
    """The evidence that all of several comparisons come out as claimed."""
    needed = [part.needed for part in parts]
    return Evidence(
        max(part.p_for for part in parts),
        min(1.0, len(parts) * min(part.p_against for part in parts)),
        any(part.tied for part in parts),
        None if None in needed else max(n for n in needed if n is not None),
    )


def no_leader(p_worse: Array) -> Evidence:
    """The evidence that no model is best by every criterion.

    `p_worse[c, i, j]` is the one-sided p-value by which model i is worse than model j in criterion c, shape `(criteria,
    models, models)`. The claim needs for each model a criterion and another model that is better in it. It is
    contradicted by a model that is better than every other in every criterion.
    """
    criteria, models, _ = p_worse.shape
    others = ~np.eye(models, dtype=bool)
    ahead = np.array([min(1.0, criteria * (models - 1) * float(p_worse[:, i, others[i]].min())) for i in range(models)])
    best = np.array([float(p_worse[:, others[i], i].max()) for i in range(models)])
    return Evidence(float(ahead.max()), min(1.0, models * float(best.min())))


def adjusted(p: Array, count: int) -> Array:
    """p-values `(k,)` adjusted by Benjamini & Hochberg over `count` hypotheses, of which the others have p = 1."""
    order = np.argsort(p)
    scaled = p[order] * count / np.arange(1, len(p) + 1)
    lowest = np.minimum.accumulate(np.minimum(scaled, 1.0)[::-1])[::-1]
    out = np.empty(len(p))
    out[order] = lowest
    return out


def decide(evidence: Sequence[Evidence | None], level: float = NOMINAL) -> list[Verdict]:
    """The verdicts of all claims of a registry; None is a claim that was not run.

    A claim that was not run counts with p = 1. So a claim that a part of the registry decides is decided in the same
    way when the rest is run: further claims can only turn `inconclusive` into another verdict.
    """
    p = np.array([1.0 if found is None else found.p for found in evidence])
    decided = adjusted(p, len(p)) <= level
    verdicts: list[Verdict] = []
    for found, yes in zip(evidence, decided, strict=True):
        if found is None:
            verdicts.append("not run")
        elif not yes:
            verdicts.append("inconclusive")
        else:
            verdicts.append("reproduced" if found.p_for < found.p_against else "contradicted")
    return verdicts
