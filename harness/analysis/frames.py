"""The uniform form of a results frame, which every analysis starts from."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

TEXT = (
    *("cell", "evaluation", "model", "label", "plugin", "plugin_version", "config", "dataset", "dataset_id", "budget"),
    *("device", "sampler", "metric", "unit", "better", "likelihood", "details", "outcome", "phase", "message"),
    *("title", "group", "place", "family", "marks", "machine", "trained_on"),
)
DRAWINGS = ("curve", "map", "field", "histogram", "frames", "images")
"""The keys in column `details` under which metrics give drawings for the report."""
NUMBERS = ("steps", "nfe", "value", "ci_low", "ci_high", "floor", "n", "elapsed", "least", "order", "noise")


def uniform_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a results frame in which missing text is `""`, missing numbers are NaN and no column is missing.

    Extra columns stay as they are. A row without an outcome counts as `ok` if it has a metric.
    """
    out = frame.reset_index(drop=True).copy()
    for name in TEXT:
        text = out[name] if name in out else pd.Series("", index=out.index)
        out[name] = text.astype(object).where(text.notna(), "").map(str)
    for name in NUMBERS:
        number = out[name] if name in out else pd.Series(float("nan"), index=out.index)
        out[name] = pd.to_numeric(number, errors="coerce").astype(float)
    seed = out["seed"] if "seed" in out else pd.Series(0, index=out.index)
    out["seed"] = pd.to_numeric(seed, errors="coerce").fillna(0).astype(int)
    true = {"selected", "ranks", "pictured"}
    for name in (*sorted(true), "control", "superseded", "unbiased", "truth"):
        default = name in true
        flag = out[name] if name in out else pd.Series(default, index=out.index)
        out[name] = flag if flag.dtype == bool else flag.astype(object).where(flag.notna(), default).astype(bool)
    out.loc[(out["outcome"] == "") & (out["metric"] != ""), "outcome"] = "ok"
    out.loc[out["dataset_id"] == "", "dataset_id"] = out["dataset"]
    out.loc[out["label"] == "", "label"] = out["model"]
    out.loc[out["title"] == "", "title"] = out["metric"].str.replace("_", " ")
    out.loc[out["group"] == "", "group"] = "further"
    out.loc[out["place"] == "", "place"] = "main"
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
