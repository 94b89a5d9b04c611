"""What is read from a run directory: which run.json and which record holds everything that trilemma needs of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .files import read_json

FORMAT = 2
_CELL = {"id", "model", "dataset", "seed", "budget", "device", "data_id", "evaluations", "run"}
_MODEL = {"name", "label", "control", "family", "pictured", "config", "provenance"}
_ENDING = {"outcome", "phase", "elapsed", "message"}


def read_run(path: Path) -> dict[str, Any] | None:
    """The content of run.json in the directory `path`; None if there is no such file.

    Raises StoreError for a file that cannot be read, because it is damaged or of another version. It is the only list
    of the cells of earlier runs, so it is never replaced.
    """
    file = path / "run.json"
    if not os.path.lexists(file):
        return None
    record = read_json(file)
    if record is None:
        wrong = "is damaged or cannot be read"
    elif record.get("format") != FORMAT:
        wrong = f"has the format {record.get('format')}, but this version of trilemma reads and writes format {FORMAT}"
    elif not _is_run(record):
        wrong = "is damaged (entries are missing)"
    else:
        return record
    raise StoreError(
        f"{file} {wrong}. It lists the cells of all runs into this directory, so it was not changed. Restore it from a "
        "copy, or move it away: then the next run makes a new one, in which only the cells of that run are listed "
        "(finished cells are found again and not trained again)"
    )


def is_complete(kind: str, record: dict[str, Any]) -> bool:
    """Whether the record of a folder of this kind (`cells`, `evaluations`, `data`) has the entries that are read."""
    if kind == "cells":
        return _has(record, _ENDING) and (record["outcome"] != "ok" or _has(record.get("training"), {"steps"}))
    if kind == "evaluations":
        return (
            _has(record, {*_ENDING, "nfe"})
            and _all_have(record.get("results"), {"metric", "value", "details", "computed_by"})
            and _all_have(record.get("not_computed"), {*_ENDING, "metric"})
        )
    return True


def _is_run(record: dict[str, Any]) -> bool:
    return (
        bool(record.get("runs"))
        and _all_have(record["runs"], {"suite", "environment"})
        and _all_have(record.get("cells"), _CELL)
        and all(
            _has(cell["model"], _MODEL)
            and _has(cell["dataset"], {"name", "label"})
            and (_has(cell["budget"], {"steps"}) or _has(cell["budget"], {"seconds"}))
            and _all_have(cell["evaluations"], {"id", "run", "sampler", "metrics"})
            for cell in record["cells"]
        )
    )


def _has(value: Any, keys: set[str]) -> bool:
    return isinstance(value, dict) and keys <= value.keys()


def _all_have(values: Any, keys: set[str]) -> bool:
    return isinstance(values, list) and all(_has(value, keys) for value in values)
