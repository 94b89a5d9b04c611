"""The comparison table as plain records, from which both HTML and Markdown are written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

import trilemma

from . import measures, numbers
from .beside_ode import beside_ode, odes
from .fitting import fitting
from .frame import first_row
from .kit import RUN, Digest
from .table import Cell, Column, Entry, Failure, Table

SELECTED = "▸"
MARKED = "!"
COUNTED = ("FLOP", "parameters")
"""Units of costs that are counted."""
TINY = 1e-6
HOPELESS = 100.0
"""Values above it, in a column whose best model is below a tenth of it, are all the same to a reader."""

NOTES = {
    "†": "at or below the floor: the samples are as near to the test points as real data is. Copies of training points "
    "reach the floor too",
    "§": "measured while other work ran on the machine: the true value may be lower",
    "‡": "from another machine than most rows, and not ranked with them",
    "¶": "fewer seeds than in other rows: see the failures",
    "#": "from another number of points than most rows, and not ranked with them",
    MARKED: "marked and not ranked, for the reasons below",
    SELECTED: "selected by the last command; the other rows are from earlier commands",
}


def build(digest: Digest, dataset: str) -> Table:
    """Build the comparison table of one dataset."""
    rows = digest.summary[digest.summary["dataset_id"] == dataset]
    good = rows[rows["metric"] != ""]
    saturated = _saturated(good)
    columns = _columns(good, saturated)
    seeds = max((len(s) for s in good["seeds"]), default=0)
    entries, order = [], _ranking(good)
    partly = not bool(digest.rows["selected"].all())
    runs: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows.itertuples():  # once, because it takes long for each call
        runs.setdefault(tuple(getattr(row, name) for name in RUN), []).append(row)
    for place, run in runs.items():
        entry = _entry(digest, run, columns, seeds, order)
        entry.anchor = digest.anchors.get(place, "")
        entry.mark = SELECTED if partly and any(row.selected for row in run) else ""
        entries.append(entry)
    entries.sort(key=lambda entry: entry.rank)
    for key, entry in enumerate(entries):
        entry.key = key
    used = {mark for entry in entries for cells in entry.cells for cell in cells.values() for mark in cell.notes}
    used |= {entry.mark for entry in entries} | {MARKED for entry in entries if entry.marked}
    notes = {mark: text for mark, text in NOTES.items() if mark in used}
    degenerate = (digest.cards.get(dataset, {}).get("degeneracy") or {}).get("unbounded_because")
    if degenerate:
        notes["Caution"] = f"a model can reach any likelihood on this data, because {degenerate}"
    notes |= _of_data(digest.cards.get(dataset, {}))
    return Table(
        dataset=dataset,
        title=digest.title(dataset),
        columns=columns,
        shown=fitting(columns, entries, measures.deciding(good)),
        models=[e for e in entries if not e.control],
        controls=[e for e in entries if e.control],
        notes=notes,
        folded=_folded(good, saturated),
    )


def _of_data(card: dict[str, Any]) -> dict[str, str]:
    """What a reader must know of the data: its units, and how it was read."""
    found = {}
    if card.get("standardized"):
        found["Units"] = (
            "distances are of points with each column in units of its standard deviation in the training rows; samples "
            "and likelihoods are in the units of the data"
        )
    if remarks := card.get("remarks"):
        found["Data"] = "; ".join(map(str, remarks))
    return found


def _columns(good: pd.DataFrame, saturated: list[str]) -> list[Column]:
    out: list[Column] = []
    by_metric = dict(tuple(good.groupby("metric", sort=False)))
    for metric in trilemma.metrics_in_order(good):
        rows = by_metric[metric]
        first = first_row(rows)
        kinds = sorted(set(zip(rows["likelihood"], rows["base"], strict=True)), key=_kind_order)
        titles = list(dict.fromkeys(measures.kind_title(*kind) for kind in kinds)) if _by_kind(rows) else [""]
        factor, unit = numbers.scale(first.unit, _representative(rows))
        folded = bool(rows["place"].eq("more").all()) or metric in saturated
        out += [
            Column(
                metric=metric,
                kind=title,
                group=first.group,
                place="more" if folded else "first" if bool(rows["place"].eq("first").any()) else "main",
                title=first.title,
                unit=unit,
                factor=factor,
                floor=_floor(rows, factor),
                about=_shared_conditions(rows, title),
                counted=first.unit in COUNTED and first.group in trilemma.COSTS,
                capped=bool((rows["least"] == 0).all()) and float(_representative(rows).min()) < HOPELESS / 10,
            )
            for title in titles
        ]
    return out


def _floor(rows: pd.DataFrame, factor: float) -> str:
    """What real data gives, for the heading: the size of what chance does, or the floor."""
    if rows["group"].iloc[0] == "likelihood":
        return ""
    noise, floor = float(rows["noise"].median()), float(rows["floor"].mean())
    if noise > 0:
        return f"by chance up to {numbers.plain(noise * factor, 2)}"
    return f"floor {numbers.plain(floor * factor)}" if math.isfinite(floor) and floor else ""


def _shared_conditions(rows: pd.DataFrame, title: str) -> str:
    """The conditions of a likelihood, if they are the same in the whole column."""
    own = (
        rows
        if not title
        else rows[[measures.kind_title(*k) == title for k in zip(rows["likelihood"], rows["base"], strict=True)]]
    )
    conditions = set(own["conditions"])
    return str(conditions.pop()) if len(conditions) == 1 else ""


def _kind_order(kind: tuple[str, str]) -> tuple[Any, ...]:
    return (*measures.kind_order(kind[0]), kind[1])


def _saturated(good: pd.DataFrame) -> list[str]:
    """The metrics of samples in the main table that have one and the same value for all models, two or more."""
    found = []
    for metric, rows in good[~good["control"] & good["group"].isin(["quality", "coverage"])].groupby("metric"):
        shown = {f"{value:.2g}" for value in rows["value"]}
        if len(rows) > 1 and len(shown) == 1 and not rows["place"].isin(["more", "first"]).any():
            found.append(str(metric))
    return found


def _folded(good: pd.DataFrame, saturated: list[str]) -> str:
    values = [
        f"{measures.title_of(good, metric)} ({numbers.plain(float(rows.iloc[0]))})"
        for metric in saturated
        if len(rows := good.loc[(good["metric"] == metric) & ~good["control"], "value"])
    ]
    return f"The same for all models, and shown below: {', '.join(values)}." if values else ""


def _by_kind(rows: pd.DataFrame) -> bool:
    """Whether a metric has a column for each likelihood kind, which is if it uses a likelihood and ranks models."""
    return bool((rows["likelihood"] != "").any() and rows["ranks"].any())


def _representative(rows: pd.DataFrame) -> pd.Series:
    """The values that decide the unit of a column: those of models that are not controls, if there are any."""
    models = rows[~rows["control"]]
    return (rows if models.empty else models)["value"]


def _entry(digest: Digest, rows: list[Any], columns: list[Column], seeds: int, order: list[str]) -> Entry:
    first = rows[0]
    ink = digest.inks.get(first.label)
    entry = Entry(digest.run_label(first), ink.variable if ink else "muted", bool(first.control))
    good = [row for row in rows if row.metric]
    found: dict[str, dict[tuple[str, str], Any]] = {}
    kinds = {column.metric for column in columns if column.kind}
    for row in sorted(good, key=lambda row: not row.elsewhere):
        kind = measures.kind_title(row.likelihood, row.base) if row.metric in kinds else ""
        found.setdefault(row.sampler, {})[row.metric, kind] = row
        if row.marked:
            reasons = entry.marked.setdefault(row.sampler, [])
            reasons += [reason for reason in row.marked if reason not in reasons]
    beside = odes(good)
    shown = {sampler: dict(_cells(rows, columns, seeds, beside)) for sampler, rows in found.items()}
    once = shown.pop("", {})
    if len(shown) == 1:
        entry.lines = [(sampler, {**cells, **once}) for sampler, cells in shown.items()]
    else:
        cost = [i for i, column in enumerate(columns) if column.group == "sampling"][:1]
        entry.own = once
        entry.lines = sorted(shown.items(), key=lambda line: [line[1].get(i, Cell()).sort for i in cost])
    ended = [row for row in rows if not row.metric and (row.outcome != "unsupported" or not good)]
    entry.failures = [_failure(row) for row in ended]
    entry.rank = _rank(good, order)
    return entry


def _cells(
    found: dict[tuple[str, str], Any], columns: list[Column], seeds: int, beside: dict[tuple[str, str, str], Any]
) -> Iterator[tuple[int, Cell]]:
    for index, column in enumerate(columns):
        row = found.get((column.metric, column.kind))
        if row is not None:
            yield index, _cell(row, column, seeds, beside_ode(row, beside, column.factor))


def _cell(row: Any, column: Column, seeds: int, beside: str) -> Cell:
    value, half = row.value * column.factor, row.half * column.factor
    cost = column.group in trilemma.COSTS
    shown, plus_minus = numbers.with_interval(value, half)
    if cost:
        shown, plus_minus = numbers.plain(value, whole=not column.unit), ""
    if not cost and abs(row.value) < TINY:  # a rounding error
        shown, plus_minus = ("0" if abs(row.value) <= max(row.half, 0.0) or row.value == 0 else "< 1e-6"), ""
    if column.capped and row.value > HOPELESS:
        shown, plus_minus = f"> {HOPELESS * column.factor:g}", ""
    at_floor = row.below_floor and column.group == "quality" and row.place != "more" and row.floor > 0
    notes = "†" if at_floor else ""
    notes += "§" if row.contended else ""
    notes += "¶" if len(row.seeds) < seeds and not cost else ""
    notes += "#" if row.apart else ""
    notes += "‡" if row.elsewhere else ""
    notes += MARKED if row.marked and row.ranks else ""
    own = column.kind or not row.likelihood  # and not those of a likelihood that another column ranks
    return Cell(
        value=shown,
        half=plus_minus,
        about="; ".join(filter(None, (row.conditions if own and not column.about else "", beside))),
        best=bool(row.best),
        notes=notes,
        interval=_interval(row, column) if half > 0 else "",
        sort=value,
    )


def _interval(row: Any, column: Column) -> str:
    """The interval of a number in words; "" if it has none."""
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return ""
    low, high = (numbers.plain(bound * column.factor) for bound in (row.low, row.high))
    return f"{low} to {high}, {len(row.seeds)} seeds" if row.interval == "seeds" else f"{low} to {high}"


def _failure(row: Any) -> Failure:
    seeds = ", ".join(map(str, row.seeds))
    where = [f"seed {seeds}" if len(row.seeds) == 1 else f"seeds {seeds}"]
    where += [f"in {row.phase}"] if row.phase else []
    where += [f"after {numbers.duration(row.elapsed)}"] if math.isfinite(row.elapsed) else []
    return Failure(row.sampler, row.outcome, " ".join(where), row.message)


def _rank(good: list[Any], order: list[str]) -> tuple[float, ...]:
    """The sort key of a model: its best value of each metric in `order`."""
    keys = []
    for metric in order:
        rows = [row for row in good if row.metric == metric and not math.isnan(row.value)]
        sign = -1 if any(row.better == "higher" for row in rows) else 1
        keys.append(min((float(sign * row.value) for row in rows), default=math.inf))
    return (*keys, 0.0 if good else 1.0)


def _ranking(good: pd.DataFrame) -> list[str]:
    """The metrics that decide the order of models: the first of quality, then those of likelihood."""
    ranked = good[good["ranks"] & good["place"].eq("first") & good["group"].isin(["quality", "likelihood"])]
    deciding = measures.deciding(good)
    return list(dict.fromkeys([*([deciding] if deciding else []), *trilemma.metrics_in_order(ranked)]))
