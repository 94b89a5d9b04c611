"""Finds a cell in a run directory, and makes the job that repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import TrilemmaError, did_you_mean
from ..planning.cell import TIMING
from ..store.store import Store


def latest_run(folder: Path = Path("runs")) -> Path:
    """The run directory in `folder` that was written last. Raises TrilemmaError if there is none."""
    found = [(file.stat().st_mtime, file.parent) for file in folder.glob("*/run.json")]
    if not found:
        raise TrilemmaError(f"there is no run directory in {folder.resolve()}; name one with --run")
    return max(found)[1]


def find_cell(store: Store, wanted: str) -> dict[str, Any]:
    """The cell of run.json with this id, this unique start of an id, or this label; the options may be left out of it.

    If several cells have the label, it is that of the latest run. Raises TrilemmaError if there is not exactly one.
    """
    cells = store.run()["cells"]
    found = [cell for cell in cells if cell["id"].startswith(wanted)] if wanted else []
    if not found:
        named = [cell for cell in cells if cell["label"] == wanted] or [cell for cell in cells if _name(cell) == wanted]
        latest = max((cell["run"] for cell in named), default=0)
        found = [cell for cell in named if cell["run"] == latest]
    if len(found) == 1:
        return dict(found[0])
    if found:
        several = "; ".join(f"{cell['id']} ({cell['label']}, {_budget(cell)})" for cell in found[:5])
        raise TrilemmaError(f"'{wanted}' names {len(found)} cells of {store.path}: {several}; give one of the ids")
    labels = [cell["label"] for cell in cells]
    raise TrilemmaError(f"{store.path} has no cell '{wanted}' ({did_you_mean(wanted, labels)}); give a label or an id")


def threads_of(store: Store, cell: dict[str, Any]) -> int:
    """The number of threads that a stored cell was trained with, or else the run that selected it last."""
    record = store.record("cells", cell["id"]) or {}
    environment = record.get("environment") or store.run()["runs"][cell["run"]]["environment"]
    return int(environment.get("threads", 1))


def repeating_job(store: Store, cell: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """The job that trains a stored cell again with the same steps, and evaluates it, into the store `scratch`."""
    record = store.record("cells", cell["id"]) or {}
    run = store.run()["runs"][cell["run"]]
    return {
        **{key: cell[key] for key in ("id", "model", "dataset", "data_sha256", "seed", "budget")},
        "kind": "cell",
        "cell": cell,
        "train": True,
        "replay": record.get("trace"),
        "evaluations": [planned for planned in cell["evaluations"] if planned.get("stage") != TIMING],
        "store": str(scratch),
        "events": str(scratch / "events.jsonl"),
        "plugins": run.get("plugin_files", []),
        "threads": threads_of(store, cell),
        "device": cell["device"].partition(":")[0],
    }


def _name(cell: dict[str, Any]) -> str:
    """The label without options."""
    return f"{cell['model']['name']} on {cell['dataset']['name']}, seed {cell['seed']}"


def _budget(cell: dict[str, Any]) -> str:
    budget = cell["budget"]
    return f"{budget['steps']} steps" if "steps" in budget else f"{budget['seconds']:g} s"
