"""The comparison as a table of plain records, from which both HTML and Markdown are written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from . import columns, numbers
from .kit import Digest

RUN = ["dataset_id", "label", "model", "control", "budget", "device"]
"""What makes a row, apart from the sampler setting."""

GAP_PER_COORDINATE = 0.05
"""A generalization gap above this many nats per coordinate reads as memorization."""

NOTHING = 1e-4
"""Nats that single precision can lose in a mean log-density."""

SELECTED = "▸"

NOTES = {
    "†": "at the floor or below it: no further from the test points than real data is. So are replayed training points",
    "*": "below the entropy, which no density can be: the likelihood is not normalized, or its approximation fails",
    "‡": "large generalization gap: training points are far more likely than test points under this model, "
    "so its quality may be memory",
    "§": "timed while other work ran on the machine; read as an upper bound",
    "¶": "fewer seeds than the other rows: see its failures",
    SELECTED: "selected by the last command; the other rows are of earlier ones",
}


@dataclass(frozen=True)
class Column:
    """A column: metric and likelihood kind, its heading, and the factor from the frame's unit to the heading's."""

    metric: str
    kind: str
    group: str
    title: str
    unit: str
    factor: float
    floor: str
    per_run: bool
    ranked: bool

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
    """One number as it is shown. `sort` is the number itself, or infinity where there is none."""

    value: str = numbers.MISSING
    half: str = ""
    spread: str = ""
    best: bool = False
    notes: str = ""
    sort: float = math.inf


@dataclass(frozen=True)
class Failure:
    """A cell or evaluation that did not end well, as a row of the table."""

    sampler: str
    outcome: str
    where: str
    message: str


@dataclass
class Entry:
    """One model: its sampler settings as lines, and its failures."""

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
        """Column groups in order, with their widths."""
        widths: dict[str, int] = {}
        for column in self.columns:
            widths[column.group] = widths.get(column.group, 0) + 1
        return list(widths.items())


def build(digest: Digest, dataset: str, *, main: bool = True) -> Table:
    """The comparison table of one dataset: the main columns, or those that the main table leaves out."""
    rows = digest.summary[digest.summary["dataset_id"] == dataset]
    good = rows[rows["metric"] != ""]
    chosen = _columns(good, main)
    seeds = max((len(s) for s in good["seeds"]), default=0)
    entries = []
    partly = not bool(digest.rows["selected"].all())
    for _, run in rows.groupby(RUN, sort=False):
        entry = _entry(digest, dataset, run, chosen, seeds)
        entry.mark = SELECTED if partly and bool(run["selected"].any()) else ""
        if main or entry.lines:
            entries.append(entry)
    entries.sort(key=lambda entry: entry.rank)
    cells = [c for e in entries for part in (e.shared, *(line for _, line in e.lines)) for c in part.values()]
    used = {mark for cell in cells for mark in cell.notes} | {entry.mark for entry in entries}
    notes = {mark: text for mark, text in NOTES.items() if mark in used}
    degenerate = (digest.cards.get(dataset, {}).get("degeneracy") or {}).get("unbounded_because")
    if degenerate and main:
        notes["Caution"] = f"the likelihood is unbounded in principle on this data: {degenerate}"
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
    present = sorted(good["metric"].unique(), key=columns.order)
    out: list[Column] = []
    for metric in present:
        spec = columns.known(metric)
        rows = good[good["metric"] == metric]
        secondary = not spec.main or (metric == "nll" and "nll_gap" in present) or not rows["primary"].any()
        if main == secondary:
            continue
        kinds = sorted(rows["likelihood"].unique(), key=_kind_order) if spec.by_kind else [""]
        factor, unit = numbers.scale(columns.unit_of(metric, rows["unit"].iloc[0]), _representative(rows))
        floor = float(rows["floor"].mean())
        out += [
            Column(
                metric=metric,
                kind=columns.KIND_TITLES.get(kind, kind),
                group=spec.group,
                title=spec.title,
                unit=unit,
                factor=factor,
                floor=numbers.plain(floor * factor) if math.isfinite(floor) and floor else "",
                per_run=bool((rows["sampler"] == "").all()),
                ranked=spec.ranked,
            )
            for kind in kinds
        ]
    return out


def _representative(rows: pd.DataFrame) -> pd.Series:
    """The values that a column's unit is chosen for: those of the models, where there are any."""
    models = rows[~rows["control"]]
    return (rows if models.empty else models)["value"]


def _kind_order(kind: str) -> tuple[int, str]:
    return (columns.KINDS.index(kind) if kind in columns.KINDS else len(columns.KINDS)), kind


def _entry(digest: Digest, dataset: str, rows: pd.DataFrame, chosen: list[Column], seeds: int) -> Entry:
    first: Any = next(rows.itertuples())
    ink = digest.inks.get(first.label)
    entry = Entry(digest.run_label(first), ink.variable if ink else "muted", bool(first.control))
    good = rows[rows["metric"] != ""]
    found: dict[str, dict[tuple[str, str], Any]] = {}
    row: Any
    for row in good.itertuples():
        kind = columns.KIND_TITLES.get(row.likelihood, row.likelihood) if columns.known(row.metric).by_kind else ""
        found.setdefault(row.sampler, {})[row.metric, kind] = row
    memory = _memorizes(good, _size(digest.cards.get(dataset, {})))
    sampled = good["metric"].isin([column.metric for column in chosen if not column.per_run])
    samplers = list(dict.fromkeys(good.loc[sampled, "sampler"])) or [""]
    entry.shared = dict(_cells(found.get("", {}), chosen, seeds, memory, per_run=True))
    for sampler in samplers:
        cells = dict(_cells(found.get(sampler, {}), chosen, seeds, memory, per_run=False))
        if cells or entry.shared:
            entry.lines.append((sampler, cells))
    entry.lines.sort(key=lambda line: [line[1].get(i, Cell()).sort for i, c in enumerate(chosen) if c.metric == "nfe"])
    ended = rows[(rows["metric"] == "") & ((rows["outcome"] != "unsupported") | good.empty)]
    entry.failures = [_failure(row, digest) for row in ended.itertuples()]
    entry.rank = _rank(good)
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
    cost = column.group in (columns.SAMPLING, columns.TRAINING)
    if cost:
        shown, plus_minus, deviation = numbers.plain(value, whole=not column.unit), "", ""
    else:
        shown, plus_minus = numbers.with_interval(value, half)
        deviation = numbers.like(spread, shown)
    notes = "†" if row.below_floor and column.metric in columns.DISTANCES else ""
    notes += "*" if column.metric == "nll_gap" and row.high < -NOTHING else ""
    notes += "‡" if memory and (column.group == columns.QUALITY or column.metric == "generalization_gap") else ""
    notes += "§" if row.contended else ""
    notes += "¶" if len(row.seeds) < seeds and not cost else ""
    return Cell(
        value=shown,
        half=plus_minus,
        spread=deviation,
        best=bool(row.best) and column.ranked,
        notes=notes,
        sort=value,
    )


def _memorizes(good: pd.DataFrame, size: int) -> bool:
    gap = good[good["metric"] == "generalization_gap"]
    scale = GAP_PER_COORDINATE * np.where(gap["unit"].str.contains("bit"), 1 / math.log(2), size)
    return bool(((gap["value"] > scale) & (gap["low"].fillna(gap["value"]) > 0)).any())


def _size(card: dict[str, Any]) -> int:
    return math.prod(int(n) for n in card.get("shape") or (1,))


def _failure(row: Any, digest: Digest) -> Failure:
    seeds = ", ".join(map(str, row.seeds))
    where = [f"seed {seeds}" if len(row.seeds) == 1 else f"seeds {seeds}"]
    where += [f"in {row.phase}"] if row.phase else []
    where += [f"after {numbers.duration(row.elapsed)}"] if math.isfinite(row.elapsed) else []
    return Failure(row.sampler, row.outcome, " ".join(where), row.message)


def _rank(good: pd.DataFrame) -> tuple[float, ...]:
    keys = []
    for metric in ("w2_excess", "w2", "sliced_w2_excess", "sliced_w2", "nll_gap", "nll"):
        values = good.loc[(good["metric"] == metric) & good["primary"], "value"]
        keys.append(float(values.min()) if len(values) else math.inf)
    return (*keys, 0.0 if len(good) else 1.0)
