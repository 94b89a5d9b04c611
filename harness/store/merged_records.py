"""The records of several run directories in one: which of two is better, and copies of folders."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from .aside import set_aside
from .claim import RERUNS
from .store import Store
from .transfer import transfer, transfer_file

_NAME = re.compile(r"[\w-]+")


@dataclass
class Merged:
    """What a merge did."""

    directories: list[str] = field(default_factory=list)
    """The directories that were merged."""
    copied: int = 0
    """Number of records (of datasets, trained cells and evaluations) that were copied with their files."""
    kept: int = 0
    """Number of records that --out had already, or had a better one of."""
    left_out: list[str] = field(default_factory=list)
    """Records that are damaged or incomplete, and that no other directory has whole."""
    conflicts: list[str] = field(default_factory=list)
    """Cells that have another result in one of the directories. The first result stays."""
    notes: list[str] = field(default_factory=list)
    """Further messages: directories that were given twice, shards that are missing."""
    written: list[str] = field(default_factory=list)
    """The files that observers wrote at the end, such as the report."""
    problems: list[str] = field(default_factory=list)
    """The errors of observers at the end."""


class Copier:
    """Copies one source into the target: datasets, and cells with their evaluations and logs."""

    def __init__(
        self, source: Store, run: dict[str, Any], target: Store, listed: dict[str, dict[str, Any]], done: Merged
    ) -> None:
        self.source, self.target, self.listed, self.done = source, target, listed, done
        self.damaged: list[tuple[str, str]] = []
        self.folders = [(kind, id) for kind in ("data", "cells") for id in self._ids(kind)]
        self._evaluations = self._by_cell(run)

    def take(self, kind: str, id: str) -> None:
        """Take a dataset, or a cell with what belongs to it, as far as it is better than what the target has."""
        record = self._whole(kind, id)
        if record is None:
            return
        found = self.target.examine(kind, id, full=True)
        mine = found.whole
        better = mine is None or _rank(record) > _rank(mine)
        if kind == "data":
            if better:
                self._copy(kind, id)
            else:
                self.done.kept += 1
                if mine is not None and _rank(record) == _rank(mine) and record.get("card") != mine.get("card"):
                    self.done.conflicts.append(f"dataset {(record.get('card') or {}).get('name', id)}")
            self._log(id, replace=better)
            return
        if better:
            if found.record is None or not same_training(record, found.record):
                for planned in self.listed.get(id, {}).get("evaluations", ()):
                    self._set_aside(planned["id"])  # those of another training
            self._copy(kind, id)
            transfer_file(*(store.path / RERUNS / f"{id}.json" for store in (self.source, self.target)), link=False)
        else:
            self.done.kept += 1
        self._log(id, replace=better)
        same = better or (mine is not None and same_training(record, mine))
        if same:
            for evaluation in self._evaluations.get(id, ()):
                self._take_evaluation(id, evaluation)
        elif mine is not None and record["outcome"] == mine["outcome"] == "ok":
            self._conflict(id)

    def _take_evaluation(self, cell: str, id: str) -> None:
        record = self._whole("evaluations", id)
        if record is None:
            return
        mine = self.target.examine("evaluations", id, full=True).whole
        if mine is None or _rank(record) > _rank(mine):
            self._copy("evaluations", id)
            return
        self.done.kept += 1
        if _rank(record) == _rank(mine) and record["outcome"] == "ok" and numbers_of(record) != numbers_of(mine):
            self._conflict(cell)

    def _conflict(self, id: str) -> None:
        cell = self.listed.get(id)
        name = _label(cell) if cell else id
        if name not in self.done.conflicts:
            self.done.conflicts.append(name)

    def _ids(self, kind: str) -> list[str]:
        folder = self.source.path / kind
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and _NAME.fullmatch(entry.name))

    def _by_cell(self, run: dict[str, Any]) -> dict[str, list[str]]:
        """The evaluations that the source has, by their cells. What run.json does not list says itself what it is."""
        cell_of = {planned["id"]: cell["id"] for cell in run["cells"] for planned in cell["evaluations"]}
        found: dict[str, list[str]] = {}
        for id in self._ids("evaluations"):
            cell = cell_of.get(id) or str((self.source.record("evaluations", id) or {}).get("cell"))
            found.setdefault(cell, []).append(id)
        return found

    def _whole(self, kind: str, id: str) -> dict[str, Any] | None:
        """The record of a folder of the source; None, and a note of it, if anything of it is damaged."""
        folder = self.source.path / kind / id
        linked = folder.is_symlink() or any(file.is_symlink() for file in folder.iterdir())
        record = None if linked else self.source.examine(kind, id, full=True).whole
        if record is None:
            self.damaged.append((kind, id))
        return record

    def _copy(self, kind: str, id: str) -> None:
        self.done.copied += transfer(self.source, self.target, kind, id, link=False)

    def _set_aside(self, evaluation: str) -> None:
        """Set an evaluation aside whose training is about to be replaced by a better one."""
        place = self.target.path / "evaluations" / evaluation
        if place.is_dir() and not place.is_symlink() and _NAME.fullmatch(evaluation):
            set_aside(self.target.path, place, f"evaluations-{evaluation}")

    def _log(self, id: str, *, replace: bool) -> None:
        """Copy the logs of a cell or dataset."""
        for name in (f"{id}.log", f"timing-{id}.log"):
            file, place = (store.path / "logs" / name for store in (self.source, self.target))
            if replace or not os.path.lexists(place):
                transfer_file(file, place, link=False)


def same_training(record: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Whether two trainings of a cell gave the same state, or for models without one the same steps and curves."""
    if not record["outcome"] == mine["outcome"] == "ok":
        return False
    one, two = (each.get("files", {}).get("model.safetensors") for each in (record, mine))
    if one or two:
        return bool(one == two)
    return bool(record["training"]["steps"] == mine["training"]["steps"] and _same_curves(record, mine))


def _rank(record: dict[str, Any]) -> int:
    """How good a record is: a result, an unfinished one or one that cannot be, and a failure or a dataset's error."""
    if "card" in record:
        return 2
    if record.get("outcome") == "ok":
        return 1 if record.get("complete") is False else 2
    return 1 if record.get("outcome") == "unsupported" else 0


def numbers_of(record: dict[str, Any]) -> str:
    """What two evaluations of one model must agree in: everything but times and costs of training."""
    if "visits" in record:
        return ""
    keys = ("metric", "likelihood", "value", "ci_low", "ci_high", "floor", "n")
    results = [result for result in record["results"] if result.get("group") != "training"]
    return json.dumps([[result.get(key) for key in keys] for result in results])


def _same_curves(record: dict[str, Any], other: dict[str, Any]) -> bool:
    return json.dumps(record.get("curves"), sort_keys=True) == json.dumps(other.get("curves"), sort_keys=True)


def _label(cell: dict[str, Any]) -> str:
    return f"{cell['model']['label']} on {cell['dataset']['label']}, seed {cell['seed']}"


def about(listed: dict[str, dict[str, Any]], kind: str, id: str) -> str:
    """The cell that a record belongs to, in brackets; "" if it is not known."""
    for cell in listed.values():
        ids = {"cells": [cell["id"]], "evaluations": [planned["id"] for planned in cell["evaluations"]]}
        if id in ids.get(kind, ()):
            return f" ({_label(cell)})"
    return ""
