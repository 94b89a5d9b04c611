"""The leaderboard over several runs, as plain records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

import trilemma

from .papers import Number, PaperTable, paper_tables

NOT_REPEATED = "not repeated"
_LINE = ["dataset_id", "label", "budget", "device", "trained_on"]
_TAG = "\x1f"  # no label holds a control character
_DATE = re.compile(r"\d{4}-\d\d-\d\dT")
_TAGGED = re.compile(f"{_TAG}\\d+")


@dataclass(frozen=True)
class Run:
    """A run: its name on the page, its machines, when it was made, and with which version."""

    name: str
    machines: str
    time: str
    version: str
    report: str = ""
    """The file of its report, beside the page."""


@dataclass(frozen=True)
class Place:
    """A row of the leaderboard. `verified` says what a repetition has shown, and `how` how sure that is."""

    run: Run
    label: str
    sampler: str
    control: bool
    marked: bool
    cells: dict[int, Number]
    verified: str
    how: str


@dataclass(frozen=True)
class Board:
    """The rows of one dataset, budget and device."""

    dataset: str
    budget: str
    machine: str
    table: PaperTable
    places: list[Place] = field(default_factory=list)


def boards(paths: Sequence[Path], views: Sequence[trilemma.RunView], runs: Sequence[Run]) -> list[Board]:
    """The leaderboards of several runs. A line whose every cell an earlier run holds, too, stands there only once."""
    frames = [trilemma.uniform_frame(view.frame) for view in views]
    found = trilemma.repeats(paths)
    kept = []
    for index, frame in enumerate(frames):
        known = {r.cell for r in found if r.run < r.other == index and r.kind != "different"}
        whole = {key for key, rows in frame.groupby(_LINE, sort=False) if set(rows["cell"]) <= known}
        rows = frame[~pd.MultiIndex.from_frame(frame[_LINE]).isin(whole)]
        kept.append(rows.assign(label=rows["label"] + _TAG + str(index)))
    verdicts = trilemma.verdicts(pd.concat(kept, ignore_index=True))
    titles = {name: str(card.get("title") or name) for view in views for name, card in view.cards.items()}
    values = [_values(frame) for frame in frames]
    made = []
    for table in paper_tables(verdicts, titles):
        places = []
        for row in table.rows:
            label, _, tag = row.label.partition(_TAG)
            here = table.place
            verified, how = _verified(int(tag), (here[0], label, *here[1:]), frames, found, values, runs, row.sampler)
            marks = (row.control, row.marked)
            places.append(Place(runs[int(tag)], label, row.sampler, *marks, row.cells, verified, how))
        plain = replace(table, notes=[_TAGGED.sub("", note) for note in table.notes])
        made.append(Board(table.place[0], table.place[1], ", ".join(filter(None, table.place[2:])), plain, places))
    return made


def _values(frame: pd.DataFrame) -> dict[tuple[Any, ...], tuple[float, float, float]]:
    """Value and interval of the deciding metric of quality, by line and sampler setting."""
    found: dict[tuple[Any, ...], tuple[float, float, float]] = {}
    for verdict in trilemma.verdicts(frame):
        if verdict["criterion"] != "quality":
            continue
        for line in verdict["lines"]:
            if line["low"] is not None and line["high"] is not None:
                place = (verdict["budget"], verdict["device"], verdict["trained_on"])
                key = (verdict["dataset"], line["label"], *place, line["sampler"], verdict["metric"], verdict["n"])
                found[key] = line["value"], line["low"], line["high"]
    return found


def _verified(
    index: int,
    line: tuple[str, ...],
    frames: Sequence[pd.DataFrame],
    repeats: Sequence[trilemma.Repeat],
    values: Sequence[dict[tuple[Any, ...], tuple[float, float, float]]],
    runs: Sequence[Run],
    sampler: str,
) -> tuple[str, str]:
    """What repetitions have shown of a line, in other runs or by `trilemma rerun`: a sentence, and `yes`, `near`, `no`
    or ``."""
    frame = frames[index]
    same = pd.Series(True, index=frame.index)
    for column, value in zip(_LINE, line, strict=True):
        same &= frame[column] == value
    cells = dict(zip(frame.loc[same, "cell"], frame.loc[same, "seed"], strict=True))
    kinds: dict[str, set[str]] = {}
    latest = ""
    for repeat in repeats:
        if index in (repeat.run, repeat.other) and repeat.cell in cells:
            kinds.setdefault(repeat.kind, set()).add(repeat.cell)
            latest = max(latest, repeat.time)
    when = f", {latest[:10]}" if _DATE.match(latest) else ""
    if identical := kinds.get("identical"):
        count = f"{len(identical)} of {len(cells)} trainings"
        if len(identical) == len(cells) and not kinds.get("different"):
            return f"bit-identical, {count}{when}", "yes"
        return f"bit-identical, {count} repeated{when}", "near"
    own = {key: value for key, value in values[index].items() if key[: len(line)] == line and key[len(line)] == sampler}
    for key, (_, low, high) in own.items():
        others = [other for other in range(len(frames)) if other != index and key in values[other]]
        others = [other for other in others if not _copied(repeats, index, other, set(cells))]
        for other in others:
            inside = low <= values[other][key][0] <= high
            name = runs[other].name
            return (f"quality within the interval in {name}", "near") if inside else (
                f"quality outside the interval in {name}", "no",
            )  # fmt: skip
    again = {repeat.cell for repeat in repeats if repeat.run == repeat.other == index} & set(cells)
    return (f"not bit-identical, {len(again)} of {len(cells)} trainings repeated{when}", "no") if again else (
        NOT_REPEATED, "",
    )  # fmt: skip


def _copied(repeats: Sequence[trilemma.Repeat], one: int, two: int, cells: set[str]) -> bool:
    """Whether another run has nothing but copies of some of these cells."""
    pair = {one, two}
    shared = [r for r in repeats if {r.run, r.other} == pair and r.cell in cells]
    return bool(shared) and all(repeat.kind == "copy" for repeat in shared)
