"""The section of training and validation curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, ClassVar, TypeGuard

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

import trilemma

from .. import numbers
from ..chosen import LINE, allowance, first
from ..frame import first_row
from ..kit import Digest, digest
from ..panels import Panel, Plate, section_of_plates

READING = (
    "The loss of each model by training step, one line for each seed, and of the averaged weights on validation data. "
    "A training loss that still falls at the end says that more steps would help. A validation loss that rises while "
    "the training loss falls is overfitting; the dot is the lowest validation loss, whose weights are kept unless the "
    "recipe keeps the last ones. Losses of different models are different quantities: do not compare their heights."
)
KEY = "Thin lines: training; dashed lines: validation; dot: lowest validation loss."
MOST, MOST_OF_ONE, SEEDS, POINTS = 20, 10, 3, 100
"""The most panels of the section and of one dataset, and the most seeds and points of a panel."""
SKIPPED = 0.05
"""The share of the steps at the start that does not stretch the axis of the loss."""
LOG_RATIO = 20
"""The axis of a positive loss is logarithmic if its largest value is more than this many times the smallest."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One curve of a training: its steps and values, and whether it is of validation data."""

    name: str
    steps: Array
    values: Array
    validation: bool


class Training(trilemma.ReportSection):
    """The section of training curves: a panel for each model and dataset, with its losses by training step."""

    name: ClassVar[str] = "training"
    order: ClassVar[int] = 42

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the panels. Returns None if no cell has training curves."""
        run = digest(view)
        most = allowance(MOST, len(run.datasets), MOST_OF_ONE)
        plates = ((run.title(dataset), _plate(run, view, dataset, most)) for dataset in run.datasets)
        return section_of_plates("Training", READING, plates)


def _plate(run: Digest, view: trilemma.RunView, dataset: str, most: int) -> Plate | None:
    trained = _trained(run, view, dataset, most)
    kept, left_out = first(trained, most, [label for label, *_ in trained])
    panels = [_panel(label, color, curves, dataset) for label, color, curves in kept]
    notes = [KEY, *([left_out] if left_out else [])]
    title = "Training and validation losses"
    return Plate(title, "", panels, (2.6, 1.8), margins=(0.42, 0.36), notes=notes) if panels else None


def _trained(run: Digest, view: trilemma.RunView, dataset: str, most: int) -> list[tuple[str, str, list[Curve]]]:
    """Label, color and curves of each model that has some. Beyond `most` models the curves are not read."""
    rows = run.rows[(run.rows["dataset_id"] == dataset) & (run.rows["outcome"] == "ok") & ~run.rows["control"]]
    cells = rows.drop_duplicates("cell")
    found: list[tuple[str, str, list[Curve]]] = []
    for _, own in cells.groupby(LINE, sort=False):
        row = first_row(own)
        curves: list[Curve] = []
        if len(found) < most:
            for cell in own.sort_values("seed")["cell"].iloc[:SEEDS]:
                curves += read_curves(view.curves(cell))
            if not curves:
                continue
        ink = run.inks.get(row.label)
        found.append((run.run_label(row), ink.color if ink else "", curves))
    return found


def read_curves(stored: Mapping[str, Any]) -> list[Curve]:
    """The curves of one cell. A plugin may have written others: what has no steps of its length is left out."""
    found = []
    for name, values in stored.items():
        steps = stored.get("validation_step" if name == "validation" else "step")
        if name in ("step", "validation_step") or not (_are_numbers(values) and _are_numbers(steps)):
            continue
        if len(values) == len(steps) and len(values) > 1:
            x, y = thinned(np.asarray(steps, np.float64), np.asarray(values, np.float64))
            found.append(Curve(name, x, y, name == "validation"))
    return found


def _are_numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


def thinned(steps: Array, values: Array, most: int = POINTS) -> tuple[Array, Array]:
    """A curve with at most `most` points, each the mean of its neighbors."""
    if len(steps) <= most:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), most)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _panel(label: str, color: str, curves: Sequence[Curve], dataset: str) -> Panel:
    said = []
    for name, group in groupby(sorted(curves, key=lambda curve: curve.name), lambda curve: curve.name):
        ends = [curve.values[-1] for curve in group]
        said.append(f"{name} ends at {numbers.plain(float(np.mean(ends)))}")
    alt = f"Training curves of {label} on {dataset}: {', '.join(said)}."
    others = dict.fromkeys(curve.name for curve in curves if curve.name not in ("loss", "validation"))
    caption = f"curves: {', '.join(others)}" if others else ""
    return Panel(label, alt, partial(draw_training, curves=curves, color=color), caption=caption)


def draw_training(axes: Axes, curves: Sequence[Curve], color: str) -> None:
    """Training curves as thin lines, validation curves dashed with a dot at the lowest point."""
    names = list(dict.fromkeys(curve.name for curve in curves if not curve.validation))
    for curve in curves:
        if curve.validation:
            axes.plot(curve.steps, curve.values, color=color, lw=1.5, ls=(0, (3, 1.5)), zorder=3)
            best = int(np.argmin(np.where(np.isfinite(curve.values), curve.values, np.inf)))
            axes.plot(curve.steps[best], curve.values[best], "o", color=color, markersize=4, zorder=4, clip_on=False)
        else:
            dash = ("-", (0, (1, 1)), (0, (6, 2)))[names.index(curve.name) % 3]
            axes.plot(curve.steps, curve.values, color=color, lw=0.8, ls=dash, alpha=0.6, zorder=2)
    low, high, log = limits(curves)
    axes.set_yscale("log" if log else "linear")
    axes.set(ylim=(low, high), xlim=(0, max(float(curve.steps[-1]) for curve in curves)))
    axes.set_xlabel("step", fontsize=7, labelpad=2)
    axes.tick_params(labelsize=7, length=2, pad=2)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if not log:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def limits(curves: Sequence[Curve]) -> tuple[float, float, bool]:
    """The limits of the axis of the loss, and whether it is logarithmic, without the first steps of each curve."""
    late = [curve.values[math.ceil(SKIPPED * len(curve.values)) :] for curve in curves]
    values = np.concatenate(late)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0, False
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > LOG_RATIO * low:
        return low / 1.2, high * 1.2, True
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin, False
