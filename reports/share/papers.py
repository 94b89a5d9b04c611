"""The table of one dataset for a paper: models by the criteria of the verdicts, as plain records."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .. import measures, numbers

Verdict = dict[str, Any]
MARKED = "must not be ranked"


@dataclass(frozen=True)
class Number:
    """A value and half the width of its interval as text. `best`: it cannot be told apart from the best."""

    value: str
    half: str = ""
    best: bool = False


@dataclass
class Row:
    """A line of the table. `marked` says that it must not be ranked."""

    label: str
    sampler: str
    control: bool
    cells: dict[int, Number] = field(default_factory=dict)
    marked: bool = False


@dataclass(frozen=True)
class PaperTable:
    """The table of one dataset, budget and device. `columns` are headings, and `caption` says how to read it.

    `place` holds dataset, budget, device, and the machine of training within a budget in seconds.
    """

    name: str
    place: tuple[str, ...]
    caption: str
    columns: list[str]
    rows: list[Row]
    notes: list[str]


def paper_tables(verdicts: Iterable[Verdict], titles: dict[str, str]) -> list[PaperTable]:
    """The tables of a run, from `trilemma.verdicts`. `titles` are those of the datasets."""
    places: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in verdicts:
        place = tuple(verdict[key] for key in ("dataset", "budget", "device", "trained_on"))
        places.setdefault(place, []).append(verdict)
    return [_table(place, own, titles.get(place[0], place[0])) for place, own in places.items()]


def _table(place: tuple[str, ...], verdicts: list[Verdict], title: str) -> PaperTable:
    dataset, budget, device, machine = place
    rows: dict[tuple[str, str], Row] = {}
    columns, apart = [], []
    keys: dict[tuple[str, str], float] = {}
    for index, verdict in enumerate(verdicts):
        factor, unit = numbers.scale(verdict["unit"], [line["value"] for line in verdict["lines"]])
        columns.append(_heading(verdict, unit))
        apart += [_name(line) for line in verdict["apart"]]
        cost = verdict["criterion"].startswith("cost:")
        for line in verdict["lines"]:
            key = line["label"], line["sampler"]
            row = rows.setdefault(key, Row(*key, line["control"]))
            row.cells[index] = _number(line, factor, cost)
            row.marked |= line["marked"]
            if verdict["criterion"] == "quality":
                keys[key] = -line["value"] if verdict["better"] == "higher" else line["value"]
    merged = _merged(list(rows.values()))
    first: dict[str, float] = {}
    for (label, _), value in keys.items():
        first[label] = min(value, first.get(label, math.inf))

    def order(row: Row) -> tuple[bool, float, str, bool, float]:
        """Controls last; models by their best row; what does not depend on the sampler before its settings."""
        own = keys.get((row.label, row.sampler), math.inf)
        return row.control, first.get(row.label, math.inf), row.label, bool(row.sampler), own

    merged.sort(key=order)
    notes = [f"{_name_of(row)} {MARKED}." for row in merged if row.marked]
    notes += [f"Left out, with another number of points: {', '.join(dict.fromkeys(apart))}."] if apart else []
    where = ", ".join(filter(None, (f"{budget} per training" if budget else "", device, machine)))
    return PaperTable(
        name="-".join(filter(None, place[:3])),
        place=place,
        caption=f"{title} ({dataset}; {where}). {_reading(verdicts)}" if where else f"{title}. {_reading(verdicts)}",
        columns=columns,
        rows=merged,
        notes=notes,
    )


def _heading(verdict: Verdict, unit: str) -> str:
    kind = verdict["criterion"].partition(":")[2] if verdict["criterion"].startswith("likelihood:") else ""
    base = kind.partition(" (")
    kind = measures.kind_title(base[0]) + (f", {base[2].rstrip(')')}" if base[2] else "") if kind else ""
    machine = f"on {verdict['machine']}" if verdict["machine"] and not verdict["trained_on"] else ""
    about = ", ".join(filter(None, (kind, unit, machine)))
    return f"{verdict['title']} ({about})" if about else str(verdict["title"])


def _number(line: dict[str, Any], factor: float, cost: bool) -> Number:
    value = line["value"] * factor
    half = math.nan
    if not cost and line["low"] is not None and line["high"] is not None:
        half = (line["high"] - line["low"]) / 2 * factor
    shown, plus_minus = numbers.with_interval(value, half)
    return Number(numbers.plain(value) if cost else shown, plus_minus, line["best"])


def _merged(rows: list[Row]) -> list[Row]:
    """The rows, where what does not depend on the sampler is in the row of the only sampler setting of the model."""
    found = []
    for row in rows:
        others = [other for other in rows if other.label == row.label and other.sampler]
        if row.sampler or len(others) != 1:
            found.append(row)
        else:
            others[0].cells |= row.cells
            others[0].marked |= row.marked
    return found


def _reading(verdicts: list[Verdict]) -> str:
    seeds = max(verdict["seeds"] for verdict in verdicts)
    intervals = {line["interval"] for verdict in verdicts for line in verdict["lines"]}
    mean = f"Means over {seeds} training seeds" if seeds > 1 else "One training seed"
    if "seeds" in intervals:
        return (
            f"{mean}, ± half of the 95 % interval over training seeds. Bold: not told apart from the best of the "
            "column; a cost is compared among the best in quality only. Controls are not ranked."
        )
    return (
        f"{mean}, ± half of the 95 % interval of the metric for one trained model. With fewer than three seeds, models "
        "are not compared."
    )


def _name(line: dict[str, str]) -> str:
    return f"{line['label']} [{line['sampler']}]" if line["sampler"] else line["label"]


def _name_of(row: Row) -> str:
    return _name({"label": row.label, "sampler": row.sampler})
