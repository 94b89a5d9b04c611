"""The details of the cells behind a comparison table: options, outcome, log, training curve, command to rerun."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trilemma

from . import numbers
from .frame import first_row
from .kit import RUN, Digest

MOST_CURVES = 200
"""Runs with more cells have no training curves beside their cells."""
POINTS = 48


@dataclass(frozen=True)
class Trained:
    """One cell: its seed, id, outcome, steps, log file in the run directory, command, and training curve in words."""

    seed: int
    cell: str
    outcome: str
    steps: str
    log: str
    command: str
    loss: str = ""
    line: str = ""
    """The points of the training curve in a box of 100 by 24, for a polyline."""


@dataclass(frozen=True)
class Details:
    """The cells of one model on one dataset, with what is the same for all seeds. `anchor` is the id of the block."""

    anchor: str
    label: str
    ink: str
    control: bool
    facts: list[tuple[str, str]]
    options: list[tuple[str, str]]
    cells: list[Trained] = field(default_factory=list)

    @property
    def seeds(self) -> str:
        """The seeds as text."""
        return ", ".join(str(cell.seed) for cell in self.cells)


def details(digest: Digest, view: trilemma.RunView, dataset: str) -> list[Details]:
    """The details of each model on a dataset, in the order of the run."""
    rows = digest.rows[~digest.rows["superseded"] & (digest.rows["cell"] != "")]
    draw = rows["cell"].nunique() <= MOST_CURVES
    own = rows[rows["dataset_id"] == dataset]
    good = set(own.loc[own["outcome"] == "ok", "cell"])
    steps = own.groupby("cell")["steps"].max()
    found: list[Details] = []
    for key, cells in own.drop_duplicates("cell").groupby(RUN, sort=False):
        first = first_row(cells)
        ink = digest.inks.get(first.label)
        facts = [("Model", first.model if first.model != first.label else ""), ("Budget", first.budget)]
        facts += [("Device", first.device)]
        facts += [("Trained on", first.trained_on), ("Plugin", f"{first.plugin} {first.plugin_version}".strip())]
        block = Details(
            anchor=digest.anchors[key],
            label=digest.run_label(first),
            ink=ink.variable if ink else "muted",
            control=bool(first.control),
            facts=[(name, text) for name, text in facts if text],
            options=_options(first.config),
        )
        row: Any
        for row in cells.sort_values("seed", kind="stable")[["seed", "cell", "outcome"]].itertuples():
            loss, line = _curve(view.curves(str(row.cell))) if draw else ("", "")
            block.cells.append(
                Trained(
                    seed=int(row.seed),
                    cell=row.cell,
                    outcome="ok" if row.cell in good else row.outcome,
                    steps=numbers.fixed(steps[row.cell], 0) if math.isfinite(steps[row.cell]) else "",
                    log=f"logs/{row.cell}.log",
                    command=f"trilemma rerun {shlex.quote(row.cell)} --run .",
                    loss=loss,
                    line=line,
                )
            )
        found.append(block)
    return found


def _options(config: str) -> list[tuple[str, str]]:
    """The options of a model, as they are stored with a result; empty if the text is no JSON object."""
    try:
        values = json.loads(config or "{}")
    except json.JSONDecodeError:
        return []
    if not isinstance(values, Mapping):
        return []
    return [(str(name), value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]


def _curve(curves: Mapping[str, Any]) -> tuple[str, str]:
    """The training loss in words, and as points of a polyline; both blank without a curve."""
    loss = _numbers(curves.get("loss"))
    if len(loss) < 2:
        return "", ""
    words = f"training loss {numbers.plain(loss[0])} to {numbers.plain(loss[-1])}"
    validation = _numbers(curves.get("validation"))
    words += f"; least validation loss {numbers.plain(min(validation))}" if validation else ""
    chosen = [loss[round(i * (len(loss) - 1) / (POINTS - 1))] for i in range(POINTS)] if len(loss) > POINTS else loss
    low, high = min(chosen), max(chosen)
    scale = 22 / (high - low) if high > low else 0.0
    points = (f"{100 * i / (len(chosen) - 1):.4g},{23 - (y - low) * scale:.3g}" for i, y in enumerate(chosen))
    return words, " ".join(points)


def _numbers(values: Any) -> list[float]:
    """The finite numbers of a list that was read from a record."""
    numeric = [v for v in values if isinstance(v, int | float)] if isinstance(values, list) else []
    return [float(v) for v in numeric if math.isfinite(v)]
