"""run.json: every run into a directory, and the cells that they selected.

A model, a dataset, or a template of an evaluation (all of it but its id) that many cells share is stored once, and
cells refer to it by its place in its list. What is read shares such parts in memory, so nobody may change them. A copy
of the file, run.json.bak, is there for a repair.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .files import FORMAT, DamagedError, WriteError, read_sealed, sealed, write_whole
from .records import all_have, has

LIST, COPY = "run.json", "run.json.bak"
CELL = {"id", "model", "dataset", "seed", "budget", "device", "data_id", "evaluations"}
_MODEL = {"name", "label", "control", "family", "pictured", "config", "provenance"}


def read_run(path: Path) -> dict[str, Any] | None:
    """The list of runs and cells in the directory `path`; None if there is none.

    Raises StoreError for a list that cannot be read, because it is damaged or of another version, or that is lost while
    its copy is still there. It is the only list of the cells of earlier runs, so it is never replaced.
    """
    file = path / LIST
    try:
        return read_list(file)
    except FileNotFoundError:
        if not os.path.lexists(path / COPY):
            return None
        wrong = f"is missing, but its copy {COPY} is there"
    except DamagedError as damage:
        wrong = str(damage)
        if wrong.startswith("has the format"):
            raise StoreError(
                f"{file} {wrong}, but this version of trilemma reads and writes format {FORMAT}. It lists the cells of "
                "all runs into this directory, so it was not changed; choose another directory"
            ) from None
    raise StoreError(
        f"{file} {wrong}. It lists the cells of all runs into this directory, so nothing was changed. "
        f"`trilemma doctor {path} --repair` restores it from its copy or from the records of the cells. To begin a new "
        f"list, move it and {COPY} away (finished cells are found again and not trained again)"
    )


def read_list(file: Path) -> dict[str, Any]:
    """The runs and cells that a file lists. Raises FileNotFoundError, and DamagedError with what is wrong."""
    record = read_sealed(file)
    try:
        expanded = _expanded(record)
    except (LookupError, TypeError, ValueError, AttributeError):
        expanded = {}
    if not _is_run(expanded):
        raise DamagedError("is damaged (entries are missing)")
    return expanded


def write_list(path: Path, runs: list[dict[str, Any]], cells: Iterable[dict[str, Any]]) -> None:
    """Write run.json in the directory `path`, then its copy. Raises WriteError if run.json cannot be written.

    Of cells with one id, the last is listed in the place of the first, with the evaluations of all of them.
    """
    content = sealed(_compact(runs, cells))
    write_whole(path / LIST, content)
    with contextlib.suppress(WriteError):  # the list itself is written, and `trilemma doctor` names an old copy
        write_whole(path / COPY, content)


class _Table:
    """A list of distinct values. `place` gives where a value is in it."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._by_text: dict[str, int] = {}
        self._by_identity: dict[Any, tuple[int, Any]] = {}

    def place(self, value: Any) -> int:
        """The place of a value. Values that were seen as objects are found without a look at their content."""
        identity = _identity(value)
        if identity not in self._by_identity:
            text = json.dumps(value, sort_keys=True)
            place = self._by_text.setdefault(text, len(self.values))
            if place == len(self.values):
                self.values.append(value)
            self._by_identity[identity] = place, value  # kept, so that no other object gets its identity
        return self._by_identity[identity][0]


def _identity(value: dict[str, Any]) -> Any:
    """What two records have in common if all their parts are the same objects."""
    return tuple(
        (key, tuple(map(id, part)) if isinstance(part, list | tuple) else id(part)) for key, part in value.items()
    )


def _compact(runs: list[dict[str, Any]], cells: Iterable[dict[str, Any]]) -> dict[str, Any]:
    models, datasets, templates = _Table(), _Table(), _Table()
    listed: dict[str, dict[str, Any]] = {}
    for cell in cells:
        earlier = listed[cell["id"]]["evaluations"] if cell["id"] in listed else []
        evaluations = {evaluation[0]: evaluation for evaluation in earlier}
        for planned in cell["evaluations"]:
            template = {key: part for key, part in planned.items() if key not in ("id", "run")}
            evaluations[planned["id"]] = [planned["id"], templates.place(template), planned["run"]]
        places = {"model": models.place(cell["model"]), "dataset": datasets.place(cell["dataset"])}
        listed[cell["id"]] = {**cell, **places, "evaluations": list(evaluations.values())}
    tables = {"models": models.values, "datasets": datasets.values, "evaluations": templates.values}
    return {"format": FORMAT, "runs": runs, **tables, "cells": list(listed.values())}


def _expanded(record: dict[str, Any]) -> dict[str, Any]:
    models, datasets, templates = record["models"], record["datasets"], record["evaluations"]
    cells = [
        {
            **cell,
            "model": models[cell["model"]],
            "dataset": datasets[cell["dataset"]],
            "evaluations": [{"id": id, **templates[place], "run": run} for id, place, run in cell["evaluations"]],
        }
        for cell in record["cells"]
    ]
    return {"format": FORMAT, "runs": record["runs"], "cells": cells}


def _is_run(record: dict[str, Any]) -> bool:
    return (
        bool(record.get("runs"))
        and all_have(record["runs"], {"suite", "environment"})
        and all_have(record.get("cells"), CELL | {"run"})
        and all(is_cell(cell) for cell in record["cells"])
    )


def is_cell(cell: Any) -> bool:
    """Whether a value has what is read of a planned cell."""
    return (
        has(cell, CELL)
        and has(cell["model"], _MODEL)
        and has(cell["dataset"], {"name", "label"})
        and (has(cell["budget"], {"steps"}) or has(cell["budget"], {"seconds"}))
        and all_have(cell["evaluations"], {"id", "sampler", "metrics"})
    )
