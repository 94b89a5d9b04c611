"""A run directory as a long pandas frame: a row per (cell, sampler setting, metric); failures are rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from .store import Store

COLUMNS = (
    "cell", "evaluation", "model", "label", "control", "plugin", "plugin_version", "config", "dataset", "dataset_id",
    "data_id", "seed", "budget", "device", "steps", "sampler", "nfe", "metric", "value", "unit", "better", "ci_low",
    "ci_high", "floor", "n", "likelihood", "details", "outcome", "phase", "elapsed", "message", "selected",
    "superseded", "title", "group", "place", "order", "ranks", "least", "family",
    "pictured",
)  # fmt: skip
_NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order")


# What makes two cells the same line of a table.
_LINE = ["model", "label", "dataset_id", "seed", "budget", "device"]


def load_frame(store: Store, *, superseded: bool = False) -> pd.DataFrame:
    """The results that a run directory holds, of all runs into it. Raises StoreError where it holds no run.

    A cell or evaluation that failed is one row with `metric` None, its outcome, phase and message; one that has not
    run (after an interruption) has outcome `interrupted`. A metric that is not defined for a model is a row with
    outcome `unsupported`. `selected` tells the rows that the latest run selected from those of earlier ones.
    Rows that are older than another of the same model, options, dataset, seed, budget, device, sampler setting and
    metric (the source, the data or the options of the metric have changed since) are left out, unless `superseded`
    asks for them; the column of that name tells them apart.
    """
    record = store.run()
    rows = [row for cell in record["cells"] for row in _cell_rows(store, cell)]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "_cell_run", "_run"])
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
    frame["selected"] = frame["_run"] == len(record["runs"]) - 1
    latest = frame.groupby(_LINE, dropna=False)["_cell_run"].transform("max")
    frame["superseded"] = frame["superseded"].astype(bool) | (frame["_cell_run"] < latest)
    return frame.loc[superseded | ~frame["superseded"], list(COLUMNS)].reset_index(drop=True)


def _cell_rows(store: Store, cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
    model, dataset = cell["model"], cell["dataset"]
    record = store.record("cells", cell["id"])
    provenance = model["provenance"] or {}
    budget = cell["budget"]
    base = dict.fromkeys(COLUMNS) | {
        "cell": cell["id"],
        "model": model["name"],
        "label": model["label"],
        "control": model["control"],
        "family": model["family"],
        "pictured": model["pictured"],
        "plugin": provenance.get("distribution"),
        "plugin_version": provenance.get("version"),
        "config": json.dumps(model["config"], sort_keys=True),
        "dataset": dataset["name"],
        "dataset_id": dataset["label"],
        "data_id": cell["data_id"],
        "seed": cell["seed"],
        "budget": f"{budget['steps']} steps" if "steps" in budget else f"{budget['seconds']:g} s",
        "device": cell["device"],
        "value": math.nan,
        "superseded": False,
        "_cell_run": cell["run"],
        "_run": cell["run"],
    }
    if record is None or record["outcome"] != "ok":
        yield base | _ending(record)
        return
    base["steps"] = record["training"]["steps"]
    for planned in cell["evaluations"]:
        yield from _evaluation_rows(store, planned, _later_metrics(cell, planned), base)


def _evaluation_rows(
    store: Store, planned: dict[str, Any], later: set[str], base: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    sampler = planned["sampler"]["label"] if planned["sampler"] else None
    here = base | {"evaluation": planned["id"], "sampler": sampler, "_run": planned["run"]}
    all_later = {"superseded": {metric["name"] for metric in planned["metrics"]} <= later}
    found = store.record("evaluations", planned["id"])
    if found is None:
        yield here | _ending(None) | all_later
        return
    here["nfe"] = found["nfe"]
    for result in found["results"]:
        about = {"details": json.dumps(result["details"]), "outcome": "ok", "phase": found["phase"]}
        yield here | result | about | {"superseded": result["computed_by"] in later}
    for missing in found["not_computed"]:
        yield here | _ending(missing) | {"superseded": missing["metric"] in later}
    if found["outcome"] != "ok" and not found["not_computed"]:
        yield here | _ending(found) | all_later


def _later_metrics(cell: dict[str, Any], planned: dict[str, Any]) -> set[str]:
    """The metrics that later runs have selected again at the same sampler setting of the cell."""
    label = planned["sampler"] and planned["sampler"]["label"]
    return {
        metric["name"]
        for other in cell["evaluations"]
        if other["run"] > planned["run"] and (other["sampler"] and other["sampler"]["label"]) == label
        for metric in other["metrics"]
    }


def _ending(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {"outcome": "interrupted", "phase": "start", "message": "not run yet; the same command runs it"}
    return {key: record[key] for key in ("outcome", "phase", "elapsed", "message")}
