"""The cells of a run as every observer reports them: parameters, training curves and numbers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

import trilemma


@dataclass(frozen=True)
class Reported:
    """One cell: what it is, how it ended, its numbers by name, and its curves as `(step, value)` by name."""

    id: str
    label: str
    outcome: str
    parameters: dict[str, str]
    numbers: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """A name for a folder: the label without the characters that a path must not hold, and the id."""
        plain = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in self.label)[:80].strip("-.")
        return f"{plain}-{self.id[:8]}"


def require(module: str, extra: str) -> None:
    """Check that a package is installed. Raises TrilemmaError that says how to install it."""
    if find_spec(module) is None:
        raise trilemma.TrilemmaError(f"the package {module} is not installed; pip install 'trilemma[{extra}]'")


class CellObserver(trilemma.Observer):
    """An observer that reports each cell of a run once, when the run has ended and times are measured.

    A cell is reported if the run has computed anything of it. A subclass implements `report`.
    """

    name = "cells"

    def __init__(self) -> None:
        self._todo: set[str] = set()

    def report(self, path: Path, cells: Iterator[Reported]) -> list[Path]:
        """Report the cells of the run in `path`, and return the files or folders that were written."""
        raise NotImplementedError

    @trilemma.hookimpl
    def trilemma_run_started(self, cells: list[dict[str, Any]]) -> None:
        """Remember what will be computed."""
        self._todo = {cell["id"] for cell in cells if cell["todo"]}

    @trilemma.hookimpl
    def trilemma_run_finished(self, path: Path, results: pd.DataFrame) -> list[Path]:
        """Report it."""
        chosen = results[results["cell"].isin(self._todo)]
        return self.report(path, reported(path, chosen)) if len(chosen) else []


def reported(path: Path, results: pd.DataFrame) -> Iterator[Reported]:
    """The cells of a results frame with their numbers, and with their training curves from the run directory."""
    view = trilemma.RunView(path, results, {}, {}, {})
    for id, rows in results.groupby("cell", sort=False):
        first: Any = rows.iloc[0]
        outcomes = [outcome for outcome in rows["outcome"] if outcome not in ("ok", "unsupported")]
        config = json.loads(first["config"]) if isinstance(first["config"], str) else {}
        parameters = {
            **{key: _text(first[key]) for key in ("model", "dataset", "seed", "budget", "device", "steps")},
            **{f"config.{key}": _text(value) for key, value in config.items()},
        }
        label = f"{first['label']} on {first['dataset_id']}, seed {first['seed']}"
        cell = Reported(str(id), trilemma.printable(label), outcomes[0] if outcomes else "ok", parameters)
        row: Any
        for row in rows[rows["metric"].notna() & rows["value"].notna()].itertuples():
            if math.isfinite(row.value):
                cell.numbers[number_name(row)] = float(row.value)
        cell.curves.update(_curves(view.curves(str(id))))
        yield cell


def number_name(row: Any) -> str:
    """The name of a number: `metric`, or `metric/sampler setting`."""
    sampler = row.sampler if isinstance(row.sampler, str) and row.sampler else ""
    return f"{row.metric}/{sampler}" if sampler else str(row.metric)


def _curves(stored: dict[str, list[float]]) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """The curves of a cell: `loss` over `step`, and every other one over its own steps."""
    for name, values in stored.items():
        steps = stored.get(f"{name}_step") or stored.get("step")
        if name == "step" or name.endswith("_step") or not steps or len(steps) != len(values):
            continue
        points = zip(steps, values, strict=True)
        yield name, [(int(step), float(value)) for step, value in points if value is not None and math.isfinite(value)]


def _text(value: Any) -> str:
    return trilemma.short_paths(trilemma.printable(value))


def setting(name: str, default: str) -> str:
    """An environment variable, or else a default, which is then set for the package."""
    return os.environ.setdefault(name, default)
