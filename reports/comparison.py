"""The comparison table as plain records, from which both HTML and Markdown are written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

import trilemma

from . import measures, numbers
from .kit import Digest

RUN = ["dataset_id", "label", "model", "control", "budget", "device"]
"""The columns that identify a model in the table."""

NOTHING = 1e-4
"""Largest error of a mean log-density from single precision, in nats."""

SELECTED = "▸"

NOTES = {
    "†": "at or below the floor: the samples are as near to the test points as real data is. Copies of training points "
    "reach the floor too",
    "*": "below the lowest possible true value: the likelihood is not normalized, or an approximation failed",
    "‡": "memorization: training points are far more likely than test points under this model, so a good value may "
    "come from copies of training points",
    "§": "measured while other work ran on the machine: the true value may be lower",
    "¶": "fewer seeds than in other rows: see the failures",
    SELECTED: "selected by the last command; the other rows are from earlier commands",
}


@dataclass(frozen=True)
class Column:
    """A column of the table: metric, likelihood kind and heading. `factor` converts values to the unit shown."""

    metric: str
    kind: str
    group: str
    title: str
    unit: str
    factor: float
    floor: str
    per_run: bool

    @property
    def heading(self) -> str:
        """The whole heading on one line."""
        parts = [self.title]
        parts += [f"({self.kind})"] if self.kind else []
        parts += [f"[{self.unit}]"] if self.unit else []
        parts += [f"floor {self.floor}"] if self.floor else []
        return " ".join(parts)


@dataclass(frozen=True)
class Cell:
    """One number as text. `sort` is the number itself, or infinity if there is none."""

    value: str = numbers.MISSING
    half: str = ""
    spread: str = ""
    best: bool = False
    notes: str = ""
    sort: float = math.inf


@dataclass(frozen=True)
class Failure:
    """A cell or evaluation that failed, as a row of the table."""

    sampler: str
    outcome: str
    where: str
    message: str


@dataclass
class Entry:
    """The rows of one model: a line for each sampler setting, and its failures."""

    label: str
    ink: str
    control: bool
    rank: tuple[float, ...] = ()
    shared: dict[int, Cell] = field(default_factory=dict)
    lines: list[tuple[str, dict[int, Cell]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    mark: str = ""

    @property
    def height(self) -> int:
        """Number of table lines that hold numbers."""
        return len(self.lines)


@dataclass(frozen=True)
class Table:
    """The comparison of one dataset."""

    dataset: str
    title: str
    columns: list[Column]
    models: list[Entry]
    controls: list[Entry]
    seeds: int
    notes: dict[str, str]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The column groups in order, with their numbers of columns."""
        widths: dict[str, int] = {}
        for column in self.columns:
            group = trilemma.GROUPS.get(column.group, column.group)
            widths[group] = widths.get(group, 0) + 1
        return list(widths.items())


def build(digest: Digest, dataset: str, *, main: bool = True) -> Table:
    """Build the comparison table of one dataset, with the main columns or with the columns that those leave out."""
    rows = digest.summary[digest.summary["dataset_id"] == dataset]
    good = rows[rows["metric"] != ""]
    chosen = _columns(good, main)
    seeds = max((len(s) for s in good["seeds"]), default=0)
    entries, order = [], _ranking(good)
    partly = not bool(digest.rows["selected"].all())
    for _, run in rows.groupby(RUN, sort=False):
        entry = _entry(digest, run, chosen, seeds, order)
        entry.mark = SELECTED if partly and bool(run["selected"].any()) else ""
        if main or entry.lines:
            entries.append(entry)
    entries.sort(key=lambda entry: entry.rank)
    cells = [c for e in entries for part in (e.shared, *(line for _, line in e.lines)) for c in part.values()]
    used = {mark for cell in cells for mark in cell.notes} | {entry.mark for entry in entries}
    notes = {mark: text for mark, text in NOTES.items() if mark in used}
    degenerate = (digest.cards.get(dataset, {}).get("degeneracy") or {}).get("unbounded_because")
    if degenerate and main:
        notes["Caution"] = f"a model can reach any likelihood on this data, because {degenerate}"
    return Table(
        dataset=dataset,
        title=digest.title(dataset),
        columns=chosen,
        models=[e for e in entries if not e.control],
        controls=[e for e in entries if e.control],
        seeds=seeds,
        notes=notes,
    )


def _columns(good: pd.DataFrame, main: bool) -> list[Column]:
    out: list[Column] = []
    for metric in trilemma.metrics_in_order(good):
        rows = good[good["metric"] == metric]
        if main == bool(rows["place"].eq("more").all()):
            continue
        first: Any = next(rows.itertuples())
        kinds = sorted(rows["likelihood"].unique(), key=measures.kind_order) if _by_kind(rows) else [""]
        factor, unit = numbers.scale(first.unit, _representative(rows))
        floor = float(rows["floor"].mean())
        out += [
            Column(
                metric=metric,
                kind=measures.kind_title(kind),
                group=first.group,
                title=first.title,
                unit=unit,
                factor=factor,
                floor=numbers.plain(floor * factor) if math.isfinite(floor) and floor else "",
                per_run=bool((rows["sampler"] == "").all()),
            )
            for kind in kinds
        ]
    return out


def _by_kind(rows: pd.DataFrame) -> bool:
    """Whether a metric has a column for each likelihood kind, which is if it uses a likelihood and ranks models."""
    return bool((rows["likelihood"] != "").any() and rows["ranks"].any())


def _representative(rows: pd.DataFrame) -> pd.Series:
    """The values that decide the unit of a column: those of models that are not controls, if there are any."""
    models = rows[~rows["control"]]
    return (rows if models.empty else models)["value"]


def _entry(digest: Digest, rows: pd.DataFrame, chosen: list[Column], seeds: int, order: list[str]) -> Entry:
    first: Any = next(rows.itertuples())
    ink = digest.inks.get(first.label)
    entry = Entry(digest.run_label(first), ink.variable if ink else "muted", bool(first.control))
    good = rows[rows["metric"] != ""]
    found: dict[str, dict[tuple[str, str], Any]] = {}
    row: Any
    kinds = {column.metric for column in chosen if column.kind}
    for row in good.itertuples():
        kind = measures.kind_title(row.likelihood) if row.metric in kinds else ""
        found.setdefault(row.sampler, {})[row.metric, kind] = row
    memory = bool(good["memorizes"].any())
    sampled = good["metric"].isin([column.metric for column in chosen if not column.per_run])
    samplers = list(dict.fromkeys(good.loc[sampled, "sampler"])) or [""]
    entry.shared = dict(_cells(found.get("", {}), chosen, seeds, memory, per_run=True))
    for sampler in samplers:
        cells = dict(_cells(found.get(sampler, {}), chosen, seeds, memory, per_run=False))
        if cells or entry.shared:
            entry.lines.append((sampler, cells))
    costs = [i for i, column in enumerate(chosen) if column.group == "sampling"]
    entry.lines.sort(key=lambda line: [line[1].get(i, Cell()).sort for i in costs[:1]])
    ended = rows[(rows["metric"] == "") & ((rows["outcome"] != "unsupported") | good.empty)]
    entry.failures = [_failure(row, digest) for row in ended.itertuples()]
    entry.rank = _rank(good, order)
    return entry


def _cells(
    found: dict[tuple[str, str], Any], chosen: list[Column], seeds: int, memory: bool, *, per_run: bool
) -> Iterator[tuple[int, Cell]]:
    for index, column in enumerate(chosen):
        row = found.get((column.metric, column.kind))
        if column.per_run == per_run and row is not None:
            yield index, _cell(row, column, seeds, memory)


def _cell(row: Any, column: Column, seeds: int, memory: bool) -> Cell:
    value, half = row.value * column.factor, row.half * column.factor
    spread = row.seed_sd * column.factor
    cost = column.group in trilemma.COSTS
    if cost:
        shown, plus_minus, deviation = numbers.plain(value, whole=not column.unit), "", ""
    else:
        shown, plus_minus = numbers.with_interval(value, half)
        deviation = numbers.like(spread, shown)
    at_floor = row.below_floor and column.group == "quality" and row.place != "more" and row.floor > 0
    notes = "†" if at_floor else ""
    notes += "*" if row.high < row.least - NOTHING else ""
    notes += "‡" if memory and (column.group == "quality" or row.memorizes) else ""
    notes += "§" if row.contended else ""
    notes += "¶" if len(row.seeds) < seeds and not cost else ""
    return Cell(
        value=shown,
        half=plus_minus,
        spread=deviation,
        best=bool(row.best),
        notes=notes,
        sort=value,
    )


def _failure(row: Any, digest: Digest) -> Failure:
    seeds = ", ".join(map(str, row.seeds))
    where = [f"seed {seeds}" if len(row.seeds) == 1 else f"seeds {seeds}"]
    where += [f"in {row.phase}"] if row.phase else []
    where += [f"after {numbers.duration(row.elapsed)}"] if math.isfinite(row.elapsed) else []
    return Failure(row.sampler, row.outcome, " ".join(where), row.message)


def _rank(good: pd.DataFrame, order: list[str]) -> tuple[float, ...]:
    """The sort key of a model: its best value of each metric in `order`."""
    keys = []
    for metric in order:
        rows = good[good["metric"] == metric]
        values = -rows["value"] if (rows["better"] == "higher").any() else rows["value"]
        keys.append(float(values.min()) if len(values) else math.inf)
    return (*keys, 0.0 if len(good) else 1.0)


def _ranking(good: pd.DataFrame) -> list[str]:
    """The metrics that decide the order of models: the first of quality, then those of likelihood."""
    ranked = good[good["ranks"] & good["place"].eq("first") & good["group"].isin(["quality", "likelihood"])]
    deciding = measures.deciding(good)
    return list(dict.fromkeys([*([deciding] if deciding else []), *trilemma.metrics_in_order(ranked)]))
