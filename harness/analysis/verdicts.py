"""Verdicts: which models are best by each criterion on each dataset, as far as the training seeds allow to say it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..contracts.result import COSTS
from ..errors import DataError
from .arenas import CONTENDED, PLACE, Arena, Record, deciding_among, names, place_of
from .machines import TIMED, TRAINED, alike, elsewhere
from .moderated import LEAST_SEEDS, holm
from .pareto import front_membership
from .summary import Judged, judge

Verdict = dict[str, Any]

LEAST_SHARE = 0.05
"""Rows that are on the front in fewer resamples are not listed."""

CONTROL_LEVEL = 0.05
"""The level, over all controls of a table, at which a control is said to be ahead of the leader."""


def verdicts(frame: pd.DataFrame | Judged) -> list[Verdict]:
    """What may be concluded from a results frame: one record per dataset, budget, device, machine and criterion.

    A criterion is `quality`, `coverage`, `likelihood:<kind>` (with the base measure if the likelihood is not that of
    continuous data) or `cost:<metric>`. A record has

    - `leader` (label and sampler setting) and `best`: the leader and all that cannot be told apart from it. Both are
      empty if nothing may be concluded; `note` then says why. A cost compares only what is best in quality.
    - `unsure`: those of `best` that are more than twice the resolution behind the leader. They vary more than it does,
      too much to be told apart from it.
    - `controls_ahead`: the controls that are better than the leader beyond chance, and `controls_level`: the controls
      that cannot be told apart from it. Controls that get the true distribution are left out.
    - `marked`: for each line that must not be ranked, the reasons.
    - `resolution`: about which factor (`scale` is `ratio`) or difference (`scale` is `difference`) between a model and
      the leader this table tells apart in half of the cases.
    - `lines`: value, interval and seeds of every row, with `best`, `control` and `marked`.
    - `front` (of a cost): the rows to which no other is better in both quality and this cost in at least one of twenty
      resamples of the seeds, with the `share` of resamples.
    - `apart`: rows with another n; `few_seeds`: rows with fewer than three seeds; `superseded`: labels with older
      results, if the frame has them.
    - `machine`: the machine that the numbers depend on, for times and for all numbers under a budget in seconds;
      `trained_on`: that of the training under such a budget; `elsewhere`: the rows that only the machine keeps apart.
    - `metric`, `title`, `unit`, `better`, `seeds` (the largest number of seeds), `n`, `budget`, `device`.

    The method is in `moderated`: moderated variances over training seeds (Smyth 2004), differences with the leader, and
    Holm's test at a level that allows for the choice of the leader.
    """
    judged = judge(frame)
    rows = judged.rows
    older: dict[Any, list[str]] = {}
    if rows["superseded"].any():
        for key, group in rows[rows["superseded"] & (rows["metric"] != "")].groupby(PLACE, sort=False):
            older[key] = sorted(set(group["label"]))
    found = []
    for place, criteria in by_place(judged):
        quality = next((arena for name, arena in criteria if name == "quality"), None)
        for name, arena in criteria:
            about = {"superseded": older.get(place, []), "elsewhere": elsewhere(arena, judged.arenas)}
            record = {**_record(name, arena), **about}
            if name.startswith("cost:") and quality is not None:
                record["front"] = _front(quality, arena)
            found.append(record)
    return found


def compare(frame: pd.DataFrame, a: str, b: str) -> list[Verdict]:
    """Compare the models with labels `a` and `b` by every criterion of `verdicts` that both have.

    Each model stands with its best sampler setting. Costs are those of the setting that is best in quality, so that no
    setting wins a cost by bad samples.

    Each record has `dataset`, `criterion`, `budget`, `device`, `metric`, the best sampler settings and values of
    both (`a`, `b`, with the machines that they depend on), `p_value` (two-sided), and `better`: the label that is
    better beyond chance (p <= 0.05), or "" if they cannot be told apart; `note` says why if nothing may be
    concluded. Variances are moderated across all models of the table. Raises DataError if a label is not in the
    frame, if both are one, or if no criterion has values of both.
    """
    judged = judge(frame)
    table = judged.summary
    if a == b:
        raise DataError(f"'{a}' is compared with itself: give two models")
    for label in (a, b):
        if label not in set(table["label"]):
            known = ", ".join(sorted(set(table["label"])))
            raise DataError(f"the results hold no model '{label}'; they hold {known}")
    found = []
    alone: dict[tuple[Any, ...], list[tuple[str, Arena, list[int | None]]]] = {}
    for _, criteria in by_place(judged):
        shown: dict[str, str] = {}
        for name, arena in criteria:
            cost = name.startswith("cost:")
            pair = [_best_line(arena, label, shown.get(label) if cost else None) for label in (a, b)]
            if name == "quality":
                shown = {
                    label: str(arena.records[arena.rows[i]]["sampler"])
                    for label, i in zip((a, b), pair, strict=True)
                    if i is not None
                }
            alone.setdefault(alike(arena), []).append((name, arena, pair))
            if None not in pair:
                found.append(_comparison(name, arena, (a, b), [i for i in pair if i is not None]))
    for beside in alone.values():
        if not any(None not in pair for _, _, pair in beside):
            found += _on_two_machines(beside)
    if not found:
        raise DataError(f"'{a}' and '{b}' have no criterion in common on any dataset, budget and device")
    return found


def _on_two_machines(beside: Sequence[tuple[str, Arena, list[int | None]]]) -> list[Verdict]:
    """What is said of two models by a criterion for which they have numbers on different machines only, if they do."""
    sides = [[(arena, pair[k]) for _, arena, pair in beside if pair[k] is not None] for k in (0, 1)]
    if not all(sides):
        return []
    (one, i), (two, j) = (side[0] for side in sides)
    why = TIMED if one.key["trained_on"] == two.key["trained_on"] else TRAINED
    return [
        {
            **{"dataset": one.key["dataset_id"], "criterion": beside[0][0], "metric": one.key["metric"]},
            **{"a": _side(one, i or 0), "b": _side(two, j or 0), "p_value": None, "better": ""},
            "note": f"one is {why} than the other: no comparison",
            **{key: one.key[key] for key in ("budget", "device")},
        }
    ]


def _side(arena: Arena, i: int) -> dict[str, Any]:
    return lines_of(arena, [arena.rows[i]])[0] | {key: arena.key[key] for key in ("machine", "trained_on")}


def by_place(judged: Judged) -> Iterator[tuple[tuple[Any, ...], list[tuple[str, Arena]]]]:
    """For each dataset, budget, device and machine of training: the criteria that have numbers, with their arenas."""
    places: dict[tuple[Any, ...], list[Record]] = {}
    for record in judged.records:
        if record.get("metric"):
            places.setdefault(place_of(record), []).append(record)
    for place, records in places.items():
        here = [arena for arena in judged.arenas if place_of(arena.key) == place]
        yield place, list(_criteria(records, here))


def _criteria(records: Sequence[Record], here: Sequence[Arena]) -> Iterator[tuple[str, Arena]]:
    for group in ("quality", "coverage"):
        metric = deciding_among(records, group)
        yield from ((group, arena) for arena in here if arena.key["metric"] == metric)
    first = [record for record in records if record["ranks"] and record["place"] == "first"]
    likelihoods = {record["metric"] for record in first if record["group"] == "likelihood"}
    for arena in here:
        if arena.key["metric"] in likelihoods:
            base = arena.key["base"]
            about = f" ({base})" if base not in ("", "continuous") else ""
            yield f"likelihood:{arena.key['likelihood']}{about}", arena
    costs = {record["metric"] for record in first if record["group"] == "sampling"}
    for arena in here:
        if arena.key["metric"] in costs:
            yield f"cost:{arena.key['metric']}", arena


def _record(name: str, arena: Arena) -> Verdict:
    first, records = arena.first, arena.records.values()
    ahead, level = _controls(arena)
    log = arena.arms.offset is not None
    n = [arena.records[row]["n"] for row in arena.rows]
    return {
        "dataset": arena.key["dataset_id"],
        "criterion": name,
        "metric": arena.key["metric"],
        "title": first["title"],
        "unit": first["unit"],
        "better": first["better"],
        "leader": None if arena.leader is None else names(arena, [arena.leader])[0],
        "best": names(arena, arena.best),
        "unsure": names(arena, arena.unsure),
        "controls_ahead": ahead,
        "controls_level": level,
        "marked": {_label(record): list(record["marked"]) for record in records if record["marked"]},
        "note": arena.note,
        "resolution": arena.resolution,
        "scale": "ratio" if log else "difference",
        "lines": lines_of(arena, arena.rows),
        "apart": names(arena, arena.apart),
        "few_seeds": names(arena, arena.few),
        "seeds": max(len(record["seeds"]) for record in records),
        "n": _whole(min((value for value in n if not math.isnan(value)), default=math.nan)),
        "budget": arena.key["budget"],
        **{key: arena.key[key] for key in ("device", "trained_on", "machine")},
    }


def _front(quality: Arena, cost: Arena) -> list[dict[str, Any]]:
    """The Pareto front of quality and a cost among the contenders for quality, by rising cost."""
    costs = {(record["label"], record["sampler"]): float(record["value"]) for record in cost.records.values()}
    lines = [(i, costs.get(quality.lines[i][::2])) for i in quality.contenders]
    lines = sorted([line for line in lines if line[1] is not None], key=lambda line: (line[1] or 0.0, line[0]))
    if not lines:
        return []
    arms = quality.arms
    samples = [np.column_stack([arms.on_scale(arms.values[i]), np.full(arms.seeds[i], value)]) for i, value in lines]
    shares = front_membership(samples, ["lower", "lower"])
    return [
        {**names(quality, [quality.rows[i]])[0], "share": float(share)}
        for (i, _), share in zip(lines, shares, strict=True)
        if share >= LEAST_SHARE
    ]


def lines_of(arena: Arena, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of an arena as records: label, sampler setting, value, interval, number of seeds, and what they are."""
    return [
        {
            "label": str(line["label"]),
            "sampler": str(line["sampler"]),
            "value": float(line["value"]),
            "low": float(line["low"]) if math.isfinite(line["low"]) else None,
            "high": float(line["high"]) if math.isfinite(line["high"]) else None,
            "interval": line["interval"],
            "seeds": len(line["seeds"]),
            "control": bool(line["control"]),
            "marked": bool(line["marked"]),
            "best": row in arena.best,
            "conditions": line["conditions"],
        }
        for row in rows
        for line in [arena.records[row]]
    ]


def _controls(arena: Arena) -> tuple[list[str], list[str]]:
    """The labels of controls that are ahead of the leader beyond chance, and of those level with it."""
    records, position = arena.records, arena.position
    if arena.leader is None or arena.first["group"] in COSTS:
        return [], []
    leader = position[arena.leader]
    controls = [row for row in arena.rows if records[row]["control"] and not records[row]["truth"]]
    rows = [row for row in controls if not records[row]["marked"]]
    if not rows:
        return [], []
    behind = holm(np.array([arena.arms.p_worse(leader, position[row]) for row in rows]), CONTROL_LEVEL)
    # The leader has been chosen among the models, so that each of them has to be ahead beyond chance.
    models = len({_label(records[arena.rows[i]]) for i in arena.contenders})
    beaten = holm(models * np.array([arena.arms.p_worse(position[row], leader) for row in rows]), CONTROL_LEVEL)
    ahead = [str(records[row]["label"]) for row, out in zip(rows, behind, strict=True) if out]
    level = [str(records[row]["label"]) for row, o, i in zip(rows, behind, beaten, strict=True) if not (o or i)]
    return list(dict.fromkeys(ahead)), list(dict.fromkeys(label for label in level if label not in ahead))


def _best_line(arena: Arena, label: str, sampler: str | None = None) -> int | None:
    """The position of the best sampler setting of a model in an arena, or of `sampler`; None if it has no number there.

    Marked settings come last.
    """
    of = [arena.records[row] for row in arena.rows]
    lines = [i for i, record in enumerate(of) if record["label"] == label and sampler in (None, record["sampler"])]
    lines = [i for i in lines if of[i]["ranks"]] or lines
    lines = [i for i in lines if not of[i]["marked"]] or lines
    return min(lines, key=lambda i: (arena.arms.means[i], i)) if lines else None


def _comparison(name: str, arena: Arena, labels: tuple[str, str], pair: Sequence[int]) -> Verdict:
    one, two = pair
    arms, records = arena.arms, [arena.records[arena.rows[i]] for i in pair]
    marked = [label for label, record in zip(labels, records, strict=True) if record["marked"]]
    cost = arena.first["group"] == "sampling"
    few = min(int(arms.seeds[i]) for i in pair) < LEAST_SEEDS and not cost
    contended = any(record["contended"] for record in records)
    note = f"{' and '.join(marked)} must not be ranked" if marked else CONTENDED if contended else ""
    note = note or (f"fewer than {LEAST_SEEDS} seeds: no comparison of models" if few else "")
    p = 2 * min(arms.p_worse(one, two), arms.p_worse(two, one))
    better = labels[0] if arms.means[one] < arms.means[two] else labels[1]
    return {
        "dataset": arena.key["dataset_id"],
        "criterion": name,
        "metric": arena.key["metric"],
        "a": _side(arena, one),
        "b": _side(arena, two),
        "p_value": None if note else min(1.0, p),
        "better": "" if note or p > CONTROL_LEVEL else better,
        "note": note,
        "budget": arena.key["budget"],
        "device": arena.key["device"],
    }


def _label(record: Record) -> str:
    label, sampler = str(record["label"]), str(record["sampler"])
    return f"{label}, {sampler}" if sampler else label


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None
