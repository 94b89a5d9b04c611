"""The uniform form of a results frame, which every analysis starts from."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

TEXT = (
    *("cell", "evaluation", "model", "label", "plugin", "plugin_version", "config", "dataset", "dataset_id", "data_id"),
    *("budget", "device", "sampler", "metric", "unit", "better", "likelihood", "details", "outcome", "phase"),
    *("message", "title", "group", "place", "family", "marks", "machine", "trained_on"),
)
DRAWINGS = ("curve", "map", "field", "histogram", "frames", "images")
"""The keys in column `details` under which metrics give drawings for the report."""
NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order", "noise")


def uniform_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results frame in which missing text is `""`, missing numbers are NaN and no column is missing.

    Extra columns stay as they are. A row without an outcome counts as `ok` if it has a metric.
    """
    out = frame.reset_index(drop=True).copy()
    # What is uniform already stays as it is, because each change of a column takes long.
    for name in TEXT:
        if name in out and str(out[name].dtype) == "str":
            if out[name].hasnans:
                out[name] = out[name].fillna("")
        else:
            text = out[name] if name in out else pd.Series("", index=out.index)
            out[name] = text.astype(object).where(text.notna(), "").map(str)
    for name in NUMBERS:
        if name not in out or out[name].dtype != "float64":
            number = out[name] if name in out else pd.Series(float("nan"), index=out.index)
            out[name] = pd.to_numeric(number, errors="coerce").astype(float)
    if "seed" not in out or out["seed"].dtype != "int64":
        seed = out["seed"] if "seed" in out else pd.Series(0, index=out.index)
        out["seed"] = pd.to_numeric(seed, errors="coerce").fillna(0).astype(int)
    true = {"selected", "ranks", "pictured"}
    for name in (*sorted(true), "control", "superseded", "unbiased", "truth"):
        if name not in out or out[name].dtype != bool:
            flag = out[name] if name in out else pd.Series(name in true, index=out.index)
            out[name] = flag.astype(object).where(flag.notna(), name in true).astype(bool)
    unsaid = out["outcome"].eq("") & out["metric"].ne("")
    if unsaid.any():
        out["outcome"] = out["outcome"].mask(unsaid, "ok")
    for name, other in (("dataset_id", "dataset"), ("label", "model")):
        if (blank := out[name].eq("")).any():
            out[name] = out[name].mask(blank, out[other])
    if (blank := out["title"].eq("")).any():
        out["title"] = out["title"].mask(blank, out["metric"].str.replace("_", " "))
    for name, usual in (("group", "further"), ("place", "main")):
        if (blank := out[name].eq("")).any():
            out[name] = out[name].mask(blank, usual)
    return out


def told(text: str) -> dict[str, Any]:
    """The JSON object in column `details`; empty if there is none."""
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def without_drawings(frame: pd.DataFrame) -> pd.DataFrame:
    """A results frame whose details hold no drawings, which would make a table of numbers large."""
    if "details" not in frame:
        return frame
    return frame.assign(details=frame["details"].map(_numbers))


def _numbers(details: Any) -> Any:
    if not isinstance(details, str) or not any(f'"{key}"' in details for key in DRAWINGS):
        return details
    try:
        found = json.loads(details)
    except ValueError:
        return details
    if not isinstance(found, dict):
        return details
    return json.dumps({key: value for key, value in found.items() if key not in DRAWINGS})
