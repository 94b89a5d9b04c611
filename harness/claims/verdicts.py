"""From the results of a run directory to the verdicts of claims. A verdict is always computed, never written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..analysis.moderated import Arms
from ..planning.grids import label
from ..plugins import Registry
from .evidence import (
    LEAST_SEEDS,
    NOMINAL,
    Array,
    Difference,
    Evidence,
    adjusted,
    at_same_points,
    conjunction,
    decide,
    difference,
    no_leader,
    weigh,
)
from .evidence import paired_difference as paired
from .numbers import Key, Numbers, Results, Table
from .record import Arm, Claim, Comparison, Effort
from .registry import Registered, registered_claims


def claims(frame: pd.DataFrame, effort: Effort = "quick") -> list[dict[str, Any]]:
    """Judge all registered claims by the results in `frame`. The records are those of `trilemma claims --json`.

    A claim whose experiment is not in the frame has the verdict `not run`. `effort` is `quick` or `full`, and says
    which training steps and seeds count.
    """
    return judge(registered_claims(Registry()), frame, effort)


def judge(
    claims: Sequence[Registered],
    frame: pd.DataFrame,
    effort: Effort,
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> list[dict[str, Any]]:
    """The verdict of each claim of a whole registry, from the frame of a run directory.

    Only results with the training steps and seeds of the claim count; `seeds` gives other seeds by name of the claim.
    A record has the claim's own fields, and

    - `verdict`, `p` (two-sided), `adjusted` (by Benjamini & Hochberg over the claims of its plugin), `tied`, and
      `needed`, the seeds with which it would be decided;
    - `comparisons`: `estimate` of a minus b, or of the factor a / b, with its 95 % interval `low` to `high`, `p_for`
      and `p_against`, and the values of both arms by seed;
    - `why`: for a claim that was not run, what is missing; `marks`: reasons why an arm must not be ranked.
    """
    table = Table(frame)
    level = {plugin: NOMINAL / 2 / n for plugin, n in _sizes(claims).items()}
    found: list[dict[str, Any]] = []
    evidence: list[Evidence | None] = []
    for each in claims:
        claim = each.claim
        wanted = list((seeds or {}).get(claim.name, claim.seed_list(effort)))
        record, weighed = _examine(claim, table, effort, wanted, level[each.plugin])
        about = claim.model_dump(exclude={"datasets", "models", "metrics", "comparisons", "steps", "seeds"})
        found.append({**about, "plugin": each.plugin, "effort": effort, "seeds": wanted, **record})
        evidence.append(weighed)
    for plugin in level:
        own = [i for i, each in enumerate(claims) if each.plugin == plugin]
        part = [evidence[i] for i in own]
        p = adjusted(np.array([1.0 if e is None else e.p for e in part]), len(part))
        for i, verdict, value, weighed in zip(own, decide(part), p, part, strict=True):
            found[i] |= {
                "verdict": verdict,
                "p": None if weighed is None else weighed.p,
                "adjusted": None if weighed is None else float(value),
                "tied": weighed is not None and weighed.tied,
                "needed": weighed.needed if weighed is not None and verdict == "inconclusive" else None,
            }
    return found


def _sizes(claims: Iterable[Registered]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for each in claims:
        sizes[each.plugin] = sizes.get(each.plugin, 0) + 1
    return sizes


def _examine(
    claim: Claim, table: Table, effort: Effort, seeds: Sequence[int], level: float
) -> tuple[dict[str, Any], Evidence | None]:
    """The record of the comparisons of a claim, and its evidence; None if an arm has too few seeds."""
    steps = claim.steps.of(effort)
    keys = list(dict.fromkeys(_key(claim, arm, metric) for arm, metric in claim.arms))
    results = {key: table.numbers(steps, key, seeds) for key in keys}
    record: dict[str, Any] = {"steps": steps, "comparisons": [], "marks": _marks(results), "why": ""}
    lacking = [key for key, numbers in results.items() if len(numbers.values) < LEAST_SEEDS]
    if lacking:
        return record | {"why": _missing(table, steps, lacking)}, None
    if claim.no_leader is not None:
        found, record["comparisons"] = _no_leader(claim, results)
        return record, found
    parts = []
    for comparison in claim.comparisons:
        part, found = _compare(claim, comparison, results, level)
        parts.append(found)
        record["comparisons"].append(part)
    return record, conjunction(parts)


def _key(claim: Claim, arm: Arm, metric: str) -> Key:
    return arm.model, arm.sampler, arm.dataset or _only_dataset(claim), metric


def _only_dataset(claim: Claim) -> str:
    entry = claim.datasets[0]
    return label(str(entry["name"]), entry.get("config", {}))


def _at_same_points(results: Results, a: Key, b: Key, scale: str) -> Array | None:
    """The differences of two arms over blocks of the test points that they share; None if they are not known."""
    one, other = results[a].blocks, results[b].blocks
    if scale != "difference" or a[2:] != b[2:] or results[a].points != results[b].points:
        return None
    if one is None or other is None or len(one) != len(other):
        return None
    return one - other


def _marks(results: Results) -> dict[str, list[str]]:
    marked: dict[str, list[str]] = {}
    for (model, sampler, *_), numbers in results.items():
        if numbers.marks:
            marked.setdefault(", ".join(filter(None, (model, sampler))), []).extend(numbers.marks)
    return {arm: list(dict.fromkeys(reasons)) for arm, reasons in marked.items()}


def _missing(table: Table, steps: int, lacking: Sequence[Key]) -> str:
    """Which arms lack numbers, and how their cells ended if they failed."""
    said = []
    for key in lacking[:3]:
        (model, sampler, _, metric), failed = key, table.failures(steps, key)
        arm = ", ".join(filter(None, (model, sampler)))
        said.append(f"{metric} of {arm}" + (f" ({', '.join(failed)})" if failed else ""))
    return "too few results: " + "; ".join(said) + ("; ..." if len(lacking) > 3 else "")


def _table(results: Results, keys: Sequence[Key], scale: str) -> Arms:
    """The arms of one comparison and others of the same quantity, on its scale, lower first."""
    chosen = [results[key] for key in keys]
    values = [np.array([numbers.values[seed] for seed in sorted(numbers.values)]) for numbers in chosen]
    errors = np.array([numbers.error for numbers in chosen])
    offset = None
    if scale == "ratio":
        noise = [numbers.noise for numbers in chosen if numbers.noise > 0]
        largest = max(float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in values)
        # As in all verdicts: about what chance does to the value of the true distribution.
        chance = [float(np.median(noise))] if noise else [2 * float(error) for error in errors if error > 0]
        offset = min(chance, default=max(1e-12, 1e-6 * largest))
    return Arms(values, errors, offset=offset)


def _compare(claim: Claim, comparison: Comparison, results: Results, level: float) -> tuple[dict[str, Any], Evidence]:
    a, b = (_key(claim, arm, comparison.quantity(arm)) for arm in (comparison.a, comparison.b))
    quantities = {a[2:], b[2:]}
    keys = [a, b, *(key for key in results if key[2:] in quantities and key not in (a, b))]
    arms = _table(results, keys, comparison.scale)
    blocks = _at_same_points(results, a, b, comparison.scale)
    if blocks is not None:  # what the metric says about a value is about the same points for all
        arms = replace(arms, errors=np.zeros(len(keys)))
    seeds = [tuple(sorted(results[key].values)) for key in keys]
    of_one_model = a[0] == b[0] and a[2] == b[2]
    found = Difference(math.inf, 0.0, 1.0, 0)
    if all(np.isfinite(arms.values[i]).all() for i in (0, 1)):
        others = [i for i, key in enumerate(keys) if (key[0], *key[2:]) == (a[0], *a[2:])]
        found = paired(arms, 0, 1, seeds, others) if of_one_model else difference(arms, 0, 1)
        found = found if blocks is None else at_same_points(found, blocks)
    ratio = comparison.scale == "ratio"
    interest = math.log(comparison.interest) if ratio else comparison.interest
    weighed = weigh(found, comparison.expect, interest, level) if math.isfinite(found.estimate) else Evidence(1, 1)
    shown = [found.estimate, *found.interval()]
    if ratio:
        shown = [math.exp(min(value, 700.0)) for value in shown]
    return {
        "metric": comparison.metric,
        "expect": comparison.expect,
        "scale": comparison.scale,
        "interest": comparison.interest,
        "paired": of_one_model,
        **dict(zip(("estimate", "low", "high"), shown, strict=True)),
        "p_for": weighed.p_for,
        "p_against": weighed.p_against,
        "tied": weighed.tied,
        "a": _side(comparison.a, a, results[a]),
        "b": _side(comparison.b, b, results[b]),
    }, weighed


def _side(arm: Arm, key: Key, numbers: Numbers) -> dict[str, Any]:
    values = {str(seed): numbers.values[seed] for seed in sorted(numbers.values)}
    mean = float(np.mean(list(values.values())))
    return {"label": arm.label, "dataset": key[2], "metric": key[3], "unit": numbers.unit, "mean": mean,
            "values": values}  # fmt: skip


def _no_leader(claim: Claim, results: Results) -> tuple[Evidence, list[dict[str, Any]]]:
    assert claim.no_leader is not None
    p, shown = [], []
    for metric in claim.no_leader.criteria:
        keys = [_key(claim, arm, metric) for arm in claim.no_leader.arms]
        arms = _table(results, keys, "ratio")
        sign = -1.0 if results[keys[0]].better == "higher" else 1.0
        rows = range(len(keys))
        interest = math.log(claim.no_leader.interest)
        p.append([[_p_worse(arms, i, j, sign, interest) for j in rows] for i in rows])
        sides = [_side(arm, key, results[key]) for arm, key in zip(claim.no_leader.arms, keys, strict=True)]
        shown.append({"metric": metric, "better": results[keys[0]].better, "arms": sides})
    return no_leader(np.array(p)), shown


def _p_worse(arms: Arms, i: int, j: int, sign: float, interest: float) -> float:
    """The p-value by which row i is worse than row j; 1 if it is not seen to be worse by what is of interest."""
    if i == j or not (np.isfinite(arms.values[i]).all() and np.isfinite(arms.values[j]).all()):
        return 1.0
    found = difference(arms, i, j)
    if sign * found.estimate < interest:
        return 1.0
    return found.p_above(0.0) if sign > 0 else found.p_below(0.0)
