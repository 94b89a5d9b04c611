"""A run directory as a long pandas frame: a row per (cell, sampler setting, metric); failures are rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from trilemma.harness.store import Store

COLUMNS = (
    "cell", "evaluation", "model", "label", "control", "plugin", "plugin_version", "config", "dataset", "dataset_id",
    "data_id", "seed", "budget", "device", "steps", "sampler", "nfe", "metric", "value", "unit", "better", "ci_low",
    "ci_high", "floor", "n", "likelihood", "details", "outcome", "phase", "elapsed", "message",
)  # fmt: skip
_NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed")


def load_frame(store: Store) -> pd.DataFrame:
    """The results of the plan of the latest run. Raises StoreError where the directory holds no run.

    A cell or evaluation that failed is one row with `metric` None, its outcome, phase and message; one that has not
    run (after an interruption) has outcome `interrupted`. A metric that is not defined for a model is a row with
    outcome `unsupported`.
    """
    rows = [row for cell in store.run()["cells"] for row in _cell_rows(store, cell)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
    return frame


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
    }
    if record is None or record["outcome"] != "ok":
        yield base | _ending(record)
        return
    base["steps"] = record["training"]["steps"]
    for planned in cell["evaluations"]:
        sampler = planned["sampler"]["label"] if planned["sampler"] else None
        found = store.record("evaluations", planned["id"])
        here = base | {"evaluation": planned["id"], "sampler": sampler}
        if found is None:
            yield here | _ending(None)
            continue
        here["nfe"] = found["nfe"]
        for result in found["results"]:
            yield here | {**result, "details": json.dumps(result["details"]), "outcome": "ok", "phase": found["phase"]}
        for missing in found["not_computed"]:
            yield here | _ending(missing)
        if found["outcome"] != "ok" and not found["not_computed"]:
            yield here | _ending(found)


def _ending(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {"outcome": "interrupted", "phase": "start", "message": "not run yet; the same command runs it"}
    return {key: record[key] for key in ("outcome", "phase", "elapsed", "message")}
