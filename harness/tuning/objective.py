"""What a search minimizes or maximizes: a quantity of a metric, computed on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import TrilemmaError, did_you_mean
from ..planning.cell import Cell
from ..plugins import Registry
from ..store.store import Store

LIKELIHOOD, SAMPLES = "nll", "energy"
"""The default quantities: the NLL of models with a likelihood, else the energy distance of their samples."""


@dataclass(frozen=True)
class Objective:
    """A quantity with its metric, the stage at which it is computed, and whether lower or higher values are better."""

    quantity: str
    metric: str
    stage: str
    better: str


def objective_of(model: type[Any], registry: Registry, asked: str | None = None) -> Objective:
    """The objective of a model: `asked`, or the default. Raises TrilemmaError for a quantity that is not known."""
    name = asked or (SAMPLES if model.likelihood == "none" else LIKELIHOOD)
    known = {}
    for metric in registry.classes("metrics").values():
        for quantity in metric.quantities:
            if quantity.better != "none" and metric.stage in ("likelihood", "sampling"):
                known[quantity.name] = Objective(quantity.name, metric.name, metric.stage, quantity.better)
    if name not in known:
        raise TrilemmaError(f"there is no objective '{name}' ({did_you_mean(name, known)})")
    # Other quantities of this stage, such as the error of a score, need no density.
    if known[name].metric == LIKELIHOOD and model.likelihood == "none":
        raise TrilemmaError(f"model '{model.name}' has no likelihood, which '{name}' needs; use --objective {SAMPLES}")
    return known[name]


@dataclass(frozen=True)
class Reading:
    """The value of a cell, or why it has none."""

    value: float | None
    why: str = ""
    outcome: str = "ok"


def reading(store: Store, cell: Cell, objective: Objective) -> Reading | None:
    """The value of a finished cell; None if the store does not hold it. A marked value counts as none."""
    trained = store.record("cells", cell.id)
    if trained is None:
        return None
    if trained["outcome"] != "ok":
        return Reading(None, f"{trained['outcome']}: {trained['message']}", trained["outcome"])
    for planned in cell.evaluated:
        record = store.record("evaluations", planned.id)
        if record is None:
            return None
        for result in record["results"]:
            if result["metric"] == objective.quantity:
                marks = "; ".join(result["marks"])
                return Reading(None, f"marked: {marks}") if marks else Reading(float(result["value"]))
        failed = [ending for ending in record["not_computed"] if ending["metric"] == objective.metric]
        endings = failed or ([record] if record["outcome"] != "ok" else [])
        if endings:
            return Reading(None, f"{endings[0]['outcome']}: {endings[0]['message']}", endings[0]["outcome"])
    return Reading(None, f"'{objective.quantity}' is not defined here", "unsupported")
