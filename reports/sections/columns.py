"""The section of the columns of tables: the distribution of each column in the data and in samples."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

import trilemma

from .. import numbers
from ..chosen import Chosen, allowance, chosen, is_image
from ..drawn_panels import one_axis
from ..kit import Digest, digest
from ..panels import Panel, Plate, section_of_plates
from ..pictures import NEUTRAL

READING = (
    "The distribution of single columns: the data is gray, and each line is a model at its best sampler setting. Look "
    "for peaks that a line misses or smooths out, and for lines that reach beyond the data. A model may match every "
    "column and still miss how they go together."
)
MOST, MOST_OF_ONE, LINES, BINS = 24, 12, 4, 30
"""The most panels of the section and of one dataset, the most models in a panel, and the bins."""
LEAST_DIM = 3
"""Points of fewer coordinates are shown whole in the section of samples."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
WORDS = ("solid", "dashed", "dotted", "dash-dotted")

Array = NDArray[np.float64]


class Columns(trilemma.ReportSection):
    """The section of columns: for each dataset of three or more columns, those that the models get most wrong."""

    name: ClassVar[str] = "columns"
    order: ClassVar[int] = 44

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the panels. Returns None if no dataset is a table with stored samples."""
        run = digest(view)
        tables = [
            dataset for dataset in run.datasets if not is_image(view, dataset) and _dim(view, dataset) >= LEAST_DIM
        ]
        most = allowance(MOST, len(tables), MOST_OF_ONE)
        plates = ((run.title(dataset), _plate(run, view, dataset, most)) for dataset in tables)
        return section_of_plates("Columns", READING, plates)


def _dim(view: trilemma.RunView, dataset: str) -> int:
    """Number of coordinates of a point, by the card of the dataset; 0 without one."""
    return math.prod(int(n) for n in view.cards.get(dataset, {}).get("shape") or (0,))


def _plate(run: Digest, view: trilemma.RunView, dataset: str, most: int) -> Plate | None:
    data = view.data(dataset)
    if data is None or len(data) < 2:
        return None
    real = _flat(data)
    models = [one for one in chosen(run, dataset) if not one.control]
    shown: list[tuple[Chosen, Array]] = []
    for one in models[:LINES]:
        points = view.samples(one.row.evaluation)
        if points is not None and len(points) > 1 and _flat(points).shape[1] == real.shape[1]:
            shown.append((one, _flat(points)))
    if not shown:
        return None
    columns = range(real.shape[1])
    gaps = np.array([[ks_distance(real[:, column], points[:, column]) for column in columns] for _, points in shown])
    worst = np.argsort(-gaps.max(0), kind="stable")[:most]
    panels = [_panel(int(column), real, shown, gaps[:, column], dataset) for column in worst]
    key = "; ".join(f"{word}: {one.label}" for word, (one, _) in zip(WORDS, shown, strict=False))
    notes = [f"{key[:1].upper()}{key[1:]}."]
    if len(models) > LINES:
        notes.append(f"The best {len(shown)} of {len(models)} models are shown.")
    if real.shape[1] > len(worst):
        notes.append(f"{len(worst)} of {real.shape[1]} columns are shown: those in which one of these models is worst.")
    return Plate("Distributions of single columns", "", panels, (2.3, 1.6), margins=(0.12, 0.28), notes=notes)


def _flat(points: NDArray[np.generic]) -> Array:
    return np.asarray(points, np.float64).reshape(len(points), -1)


def ks_distance(real: Array, generated: Array) -> float:
    """The Kolmogorov-Smirnov distance of two sets of numbers. `scipy.stats` would take long to load."""
    values = np.concatenate([real, generated])
    shares = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (real, generated)]
    return float(np.abs(shares[0] - shares[1]).max())


def _panel(column: int, real: Array, shown: list[tuple[Chosen, Array]], gaps: Array, dataset: str) -> Panel:
    said = ", ".join(f"{one.label} {numbers.plain(gap, 2)}" for (one, _), gap in zip(shown, gaps, strict=True))
    alt = f"Histogram of column {column + 1} of {dataset} and of samples. Largest difference of shares: {said}."
    lines = [(points[:, column], one.ink.color) for one, points in shown]
    caption = f"largest difference {numbers.plain(float(gaps.max()), 2)}"
    return Panel(f"column {column + 1}", alt, partial(draw_column, real=real[:, column], lines=lines), caption=caption)


def draw_column(axes: Axes, real: Array, lines: list[tuple[Array, str]]) -> None:
    """The histogram of the data in gray, and of samples as lines. The outer bins hold all values beyond them."""
    low, high = np.quantile(real, [0.002, 0.998])
    margin = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    heights = [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (real, *(x for x, _ in lines))]
    axes.stairs(heights[0], edges, fill=True, color=NEUTRAL, alpha=0.4, linewidth=0)
    for height, (_, color), dash in zip(heights[1:], lines, DASHES, strict=False):
        axes.stairs(height, edges, color=color, lw=1.1, ls=dash)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
    one_axis(axes, MaxNLocator(4))
