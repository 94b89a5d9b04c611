"""Changes of numbers between two sets of results: which of them go beyond what training seeds and metrics vary by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..store.machines import is_time
from .arenas import PLACE, Arena
from .frames import uniform_frame
from .moderated import LEAST_SEEDS, Arms, holm
from .records import NOTHING
from .statistics import t_quantile, t_tail
from .summary import judge
from .verdicts import by_place, lines_of
from .within import own_errors, with_points

Change = dict[str, Any]

LEVEL = 0.033
"""The level of Holm's test. Few seeds say little about unequal variances, so that the nominal level is exceeded.

It was found by simulation: anything is called worse in at most 5 % of the comparisons in which nothing has changed.
"""

NEGLIGIBLE = 0.01
"""Smaller changes, as a share of the value, are no change: rounding in another order moves numbers too."""

TIME = "a time, which varies between runs by more than within one"
FEW = f"fewer than {LEAST_SEEDS} seeds"
OTHER_N = "computed from another number of points"
MARKED = "must not be ranked"

_LARGEST_LOG = 100.0  # a factor beyond it says no more than that nothing is known
_AFTER = "\x1fafter"  # no name holds a control character
_NUMBER = [*PLACE, "label", "sampler", "metric", "likelihood"]


def changes(before: pd.DataFrame, after: pd.DataFrame) -> list[Change]:
    """How each number of a criterion has changed from one results frame to another.

    There is a record for each line (label and sampler setting) of both frames and each criterion of `verdicts`, with
    `before` and `after` (values with intervals), `change` (a ratio or a difference, with its 95 % interval), `p_value`
    (one-sided, for the direction of the change) and `status`:

    - `equal`: the values of all seeds in common are the same,
    - `worse`, `better`: the change is beyond chance,
    - `no difference`: the change may be chance. `resolution` is the ratio or difference that is found in about half of
      the cases,
    - `not tested`, for the reason in `note`.

    With three seeds or more in common, the differences within seeds are tested, with variances that are moderated
    across the lines of the criterion; otherwise the means. Holm's test over all records holds the chance that anything
    is called worse although nothing has changed to at most 5 %; the same holds for better.
    """
    a, b = (_good(uniform_frame(frame)) for frame in (before, after))
    equal = _equal(a, b)
    keys = pd.MultiIndex.from_frame(b[_NUMBER])
    # What is equal is no second sample, so that it must not count twice in the variance that all lines share.
    changed = b[~keys.isin(equal)].assign(label=lambda rows: rows["label"] + _AFTER)
    judged = judge(pd.concat([a, changed], ignore_index=True))
    found: list[Change] = []
    for _, criteria in by_place(judged):
        for name, arena in criteria:
            found += _of_arena(name, arena, equal)
    _decide(found)
    return found


def _good(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["outcome"] == "ok") & (rows["metric"] != "") & ~rows["superseded"]]


def _equal(a: pd.DataFrame, b: pd.DataFrame) -> set[tuple[Any, ...]]:
    """The numbers of which every seed that both frames have has the same value in both."""
    columns = [*_NUMBER, "seed", "value", "n"]
    both = a[columns].merge(b[columns], on=[*_NUMBER, "seed"], suffixes=("_a", "_b"))
    n = both["n_a"].eq(both["n_b"]) | (both["n_a"].isna() & both["n_b"].isna())
    same = (both["value_a"].eq(both["value_b"]) & n).groupby([both[key] for key in _NUMBER]).all()
    return set(same.index[same])


def _of_arena(name: str, arena: Arena, equal: set[tuple[Any, ...]]) -> list[Change]:
    """The changes by one criterion."""
    at = {(str(record["label"]), str(record["sampler"])): row for row, record in arena.records.items()}
    pairs = [(row, at.get((label + _AFTER, sampler))) for (label, sampler), row in at.items() if _AFTER not in label]
    found, tested = [], []
    for one, two in pairs:
        key = (*(arena.key[key] for key in PLACE), *(arena.records[one][key] for key in ("label", "sampler")))
        if (*key, arena.key["metric"], arena.key["likelihood"]) in equal:
            found.append(_record(name, arena, one, one) | {"status": "equal"})
        elif two is not None:
            found.append(_record(name, arena, one, two) | {"note": _untested(arena, one, two)})
            if not found[-1]["note"]:
                tested.append((found[-1], arena.position[one], arena.position[two]))
    _test(arena, tested)
    return found


def _untested(arena: Arena, one: int, two: int) -> str:
    """Why two rows are not tested; "" if they are."""
    before, after = arena.records[one], arena.records[two]
    if is_time(before["unit"]):
        return TIME
    if one not in arena.position or two not in arena.position:
        return OTHER_N
    if before["marked"] or after["marked"]:
        return MARKED
    arms, i, j = arena.arms, arena.position[one], arena.position[two]
    few = min(arms.seeds[i], arms.seeds[j]) < LEAST_SEEDS
    return FEW if few and not _counted(arena, i, j) else ""


def _counted(arena: Arena, i: int, j: int) -> bool:
    """Whether two rows are costs that do not vary: facts, for which one seed is enough."""
    arms = arena.arms
    return bool(arena.first["group"] == "sampling" and arms.constant[i] and arms.constant[j])


def _record(name: str, arena: Arena, one: int, two: int) -> Change:
    first = arena.records[one]
    sides = lines_of(arena, [one, two])
    return {
        **{"dataset": arena.key["dataset_id"], "budget": arena.key["budget"], "device": arena.key["device"]},
        **{"trained_on": arena.key["trained_on"], "criterion": name, "metric": arena.key["metric"]},
        **{"title": first["title"], "unit": first["unit"], "direction": first["better"]},
        **{"label": first["label"], "sampler": first["sampler"], "control": bool(first["control"])},
        **{
            side: {key: line[key] for key in ("value", "low", "high", "interval", "seeds")}
            for side, line in zip(("before", "after"), sides, strict=True)
        },
        **{"status": "not tested", "note": "", "change": None, "p_value": None, "resolution": None},
    }


def _test(arena: Arena, tested: Sequence[tuple[Change, int, int]]) -> None:
    """Add the differences of pairs of rows to their records, with intervals on the scale of the values."""
    arms = arena.arms
    seeds = [arena.records[row]["value_seeds"] for row in arena.rows]
    found = differences(
        arms, seeds, [(i, j) for _, i, j in tested], [bool(record["control"]) for record, _, _ in tested]
    )
    ratio = arms.offset is not None
    for (record, _, _), difference in zip(tested, found, strict=True):
        record["_difference"] = difference
        half = t_quantile(0.975, difference.df) * difference.error if difference.error else 0.0
        ends = [difference.mean, difference.mean - half, difference.mean + half]
        if ratio:
            ends = [math.exp(min(max(end, -_LARGEST_LOG), _LARGEST_LOG)) for end in ends]
        elif not arms.lower:
            ends = [-ends[0], -ends[2], -ends[1]]
        record["change"] = {
            "scale": "ratio" if ratio else "difference",
            **dict(zip(("value", "low", "high"), ends, strict=True)),
        }


@dataclass(frozen=True)
class Difference:
    """A difference on the scale of a comparison, on which more is worse, with its standard error."""

    mean: float
    error: float
    df: float
    negligible: float
    """Up to it, a difference is none."""

    def p_values(self) -> tuple[float, float]:
        """The one-sided p-values of worse and of better."""
        if abs(self.mean) <= self.negligible:
            return 1.0, 1.0
        if self.error == 0:
            return (0.0, 1.0) if self.mean > 0 else (1.0, 0.0)
        return t_tail(self.mean / self.error, self.df), t_tail(-self.mean / self.error, self.df)


def differences(
    arms: Arms, seeds: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]], controls: Sequence[bool]
) -> list[Difference]:
    """The differences of pairs of rows: within the seeds that they share, or else of their means.

    `seeds[row]` are the seeds of `arms.values[row]`. The variances of the differences within seeds are moderated across
    the pairs that are no controls.
    """
    within = [_within(arms, seeds, i, j) for i, j in pairs]
    points = [arms.at_same_points(i, j) for i, j in pairs]
    own = own_errors(arms, pairs, points)
    places = [k for k, values in enumerate(within) if values is not None]
    paired = Arms(
        [values for values in within if values is not None],
        own[places],
        pooled=np.array([not controls[k] for k in places], dtype=bool),
    )
    row_of = {k: row for row, k in enumerate(places)}
    negligible = NEGLIGIBLE if arms.offset is not None else NOTHING
    found = []
    for k, (i, j) in enumerate(pairs):
        if k in row_of:
            row = row_of[k]
            found.append(Difference(float(paired.means[row]), *with_points(paired, row, points[k]), negligible))
        else:
            mean = float(arms.means[j] - arms.means[i])
            found.append(Difference(mean, *arms.difference_error(i, j), negligible))
    return found


def _within(arms: Arms, seeds: Sequence[Sequence[int]], i: int, j: int) -> Any:
    """The differences within the seeds that two rows share, on the scale of the comparison; None if they are few."""
    shared = sorted(set(seeds[i]) & set(seeds[j]))
    if len(shared) < LEAST_SEEDS:
        return None
    one, two = (arms.on_scale(arms.values[row][[list(seeds[row]).index(s) for s in shared]]) for row in (i, j))
    return two - one


def beyond_chance(found: Sequence[Difference]) -> list[str]:
    """Which of all differences of a comparison are `worse` and which are `better`; "" for the others."""
    p = np.array([difference.p_values() for difference in found]).reshape(-1, 2)
    worse, better = (holm(p[:, side], LEVEL) for side in (0, 1))
    return ["worse" if w else "better" if b else "" for w, b in zip(worse, better, strict=True)]


def _decide(found: Sequence[Change]) -> None:
    """Say which of the tested records are worse and which are better, over all of them."""
    tested = [record for record in found if "_difference" in record]
    parts: list[Difference] = [record.pop("_difference") for record in tested]
    for record, difference, status in zip(tested, parts, beyond_chance(parts), strict=True):
        record["status"] = status or "no difference"
        record["p_value"] = min(difference.p_values())
        if difference.error and math.isfinite(difference.error):
            seen = -t_quantile(LEVEL / len(tested), difference.df) * difference.error
            ratio = record["change"]["scale"] == "ratio"
            record["resolution"] = math.exp(min(seen, _LARGEST_LOG)) if ratio else seen
