"""The results of a run directory as a pandas frame in long form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from .machines import is_time, machine_name, planned_on
from .store import Store

COLUMNS = (
    "cell", "evaluation", "model", "label", "control", "plugin", "plugin_version", "config", "dataset", "dataset_id",
    "data_id", "seed", "budget", "device", "steps", "sampler", "nfe", "metric", "value", "unit", "better", "ci_low",
    "ci_high", "floor", "n", "likelihood", "details", "outcome", "phase", "elapsed", "message", "selected",
    "superseded", "title", "group", "place", "order", "ranks", "least", "family",
    "pictured", "unbiased", "noise", "marks", "truth", "machine", "trained_on", "computed_by",
)  # fmt: skip
LEFT_OUT = "superseded_cells"
"""The attribute of a frame that says of how many cells superseded rows were left out."""
_NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order", "noise")


# Two cells that agree in these columns are the same line of a table.
_LINE = ["model", "label", "dataset_id", "seed", "budget", "device"]


def load_frame(store: Store, *, superseded: bool = False) -> pd.DataFrame:
    """Load the results of all runs into a run directory, one row per cell, sampler setting and metric.

    A cell or evaluation that failed is one row with `metric` None, and its outcome, phase and message. If it has not
    run, because a run was interrupted, or if it is damaged in the store, its outcome is `interrupted`. A metric that is
    not defined for a model is a row with outcome `unsupported`. The column `selected` marks the rows that the latest
    run selected.

    A row is superseded if there is a newer one of the same model, options, dataset, seed, budget, device, sampler
    setting and metric, because code, data or the options of the metric have changed. What has not run supersedes only
    what has not run either. Superseded rows are left out, unless `superseded` is true; the column `superseded` marks
    them.

    The column `machine` names the processor (and GPU) and the threads that a number depends on: those of the
    measurement for a time, and those of the training for everything under a budget in seconds. It is blank for other
    numbers. `trained_on` is the machine of the training under a budget in seconds, else blank.

    Raises StoreError if the directory holds no run, or its run.json cannot be read.
    """
    record = store.run()
    frame = _in_columns(row for cell in record["cells"] for row in _cell_rows(store, cell, planned_on(record, cell)))
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
    frame["selected"] = frame["_run"] == len(record["runs"]) - 1
    stored = frame["_stored"].astype(bool)
    frame["_stored_run"] = frame["_cell_run"].where(stored)  # NaN for a cell without a record
    latest = frame.groupby(_LINE, dropna=False)[["_cell_run", "_stored_run"]].transform("max")
    newest = latest["_stored_run"].where(stored, latest["_cell_run"])
    frame["superseded"] = frame["superseded"].astype(bool) | (frame["_cell_run"] < newest)
    shown = frame.loc[superseded | ~frame["superseded"], list(COLUMNS)].reset_index(drop=True)
    shown.attrs[LEFT_OUT] = 0 if superseded else int(frame.loc[frame["superseded"], "cell"].nunique())
    return shown


def _in_columns(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """A frame of rows, which are taken apart one by one. Equal texts become one object: most texts are in many rows."""
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "_cell_run", "_run", "_stored")}
    texts: dict[str, str] = {}
    for row in rows:
        for name, column in columns.items():
            value = row.get(name)
            column.append(texts.setdefault(value, value) if isinstance(value, str) else value)
    return pd.DataFrame(columns)


def _cell_rows(store: Store, cell: dict[str, Any], environment: Any) -> Iterator[dict[str, Any]]:
    model, dataset = cell["model"], cell["dataset"]
    record = store.record("cells", cell["id"])
    provenance = model["provenance"] or {}
    budget = cell["budget"]
    trained = machine_name((record or {}).get("environment") or environment, cell["device"])
    trained_on = "" if "steps" in budget else trained
    base = dict.fromkeys(COLUMNS) | {
        "cell": cell["id"],
        "model": model["name"],
        "label": model["label"],
        "control": model["control"],
        "family": model["family"],
        "pictured": model["pictured"],
        "truth": model.get("needs_truth", False),
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
        "machine": trained_on,
        "trained_on": trained_on,
        "_trained": trained,
        "_cell_run": cell["run"],
        "_run": cell["run"],
        "_stored": record is not None,
    }
    if record is None or record["outcome"] != "ok":
        yield base | (_ending(record) if record else _pending(store, "cells", cell["id"]))
        return
    base["steps"] = record["training"]["steps"]
    records = {planned["id"]: store.record("evaluations", planned["id"]) for planned in cell["evaluations"]}
    for planned in cell["evaluations"]:
        later = _later_metrics(records, cell, planned)
        if planned.get("likelihood") and _outranked(records, cell, planned):
            planned = {**planned, "further": True}
        here = base | {"evaluation": planned["id"], "sampler": _label(planned), "_run": planned["run"]}
        if (found := records[planned["id"]]) is None:
            lost = {"superseded": {metric["name"] for metric in planned["metrics"]} <= later}
            rows = iter([here | _pending(store, "evaluations", planned["id"]) | lost])
        else:
            rows = _evaluation_rows(found, planned, later, here)
        if planned.get("stage") == "timing":
            nfe = _evaluations_per_sample(records, cell, planned)
            yield from ({**row, "nfe": nfe} for row in rows)
        else:
            yield from rows


Records = dict[str, dict[str, Any] | None]
"""The records of the evaluations of a cell by their ids; None for those that are absent or damaged."""


def _evaluations_per_sample(records: Records, cell: dict[str, Any], timed: dict[str, Any]) -> float | None:
    """Network evaluations per sample at a sampler setting that was timed: times are measured without counting."""
    for planned in cell["evaluations"]:
        same = planned.get("source") == timed.get("source") and planned["sampler"] == timed["sampler"]
        if same and planned.get("stage") != "timing" and (found := records[planned["id"]]):
            nfe: float | None = found["nfe"]
            return nfe
    return None


def _evaluation_rows(
    found: dict[str, Any], planned: dict[str, Any], later: set[str], here: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    here["nfe"] = found["nfe"]
    if planned.get("stage") == "timing":
        here["machine"] = machine_name(found.get("environment"), here["device"]) or here["_trained"]
    for result in found["results"]:
        about = {"details": json.dumps(result["details"]), "outcome": "ok", "phase": found["phase"]}
        about["marks"] = "\n".join(result.get("marks", ()))
        if result.get("group") == "training":
            about |= {"sampler": here["sampler"] if planned["sampler"] else None}
            about |= {"machine": here["_trained"]} if is_time(result.get("unit")) else {}
        if planned.get("further"):
            about["ranks"] = False
        yield here | result | about | {"superseded": result["computed_by"] in later}
    for missing in found["not_computed"]:
        yield here | _ending(missing) | {"superseded": missing["metric"] in later}
    if found["outcome"] != "ok" and not found["not_computed"]:
        yield here | _ending(found) | {"superseded": {metric["name"] for metric in planned["metrics"]} <= later}


def _later_metrics(records: Records, cell: dict[str, Any], planned: dict[str, Any]) -> set[str]:
    """The metrics of an evaluation that later runs have selected again at the same sampler setting of the cell.

    If the code that a later run evaluated has changed, this is every metric: a line of a table never mixes two versions
    of a sampler. Evaluations that have not run count only if `planned` has not run either.
    """
    pending = records[planned["id"]] is None
    return {
        metric["name"]
        for other in cell["evaluations"]
        if other["run"] > planned["run"] and (pending or records[other["id"]] is not None)
        for metric in (other if other.get("source") == planned.get("source") else planned)["metrics"]
        if _takes_the_place(other, planned, metric)
    }


def _outranked(records: Records, cell: dict[str, Any], planned: dict[str, Any]) -> bool:
    """Whether a later run has chosen another setting of the likelihood as the one that ranks the model."""
    names = {metric["name"] for metric in planned["metrics"]}
    return any(
        other["run"] > planned["run"]
        and not other["sampler"]
        and not other.get("further")
        and other.get("stage") == planned.get("stage")
        and names & {metric["name"] for metric in other["metrics"]}
        and records[other["id"]] is not None
        for other in cell["evaluations"]
    )


def _label(planned: dict[str, Any]) -> str | None:
    """The label of the sampler setting, or of the setting of the likelihood if there were several; None without one."""
    setting = planned["sampler"] or planned.get("likelihood")
    return setting["label"] if setting else None


def _takes_the_place(other: dict[str, Any], planned: dict[str, Any], metric: dict[str, Any]) -> bool:
    """Whether a later evaluation shows a metric in place of `planned`: at the same setting, or whatever the likelihood.

    What training costs does not depend on the likelihood. A likelihood without a label gives way to labeled ones.
    """
    if _label(other) == _label(planned):
        return True
    of_model = not other["sampler"] and not planned["sampler"]
    return of_model and (metric.get("stage") == "training" or _label(planned) is None)


def _ending(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("outcome", "phase", "elapsed", "message")}


def _pending(store: Store, kind: str, id: str) -> dict[str, Any]:
    """The ending of what has no record that can be used."""
    problem = store.examine(kind, id).problem
    found = f"{kind}/{id}: {problem}" if problem else "not run yet"
    return {"outcome": "interrupted", "phase": "start", "message": f"{found}; run the same command again"}
