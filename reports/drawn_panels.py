"""The panels that show the drawings of metrics: maps, fields of arrows, histograms, frames of points, and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from . import pictures
from .drawn import DrawnField, DrawnFrames, DrawnHistogram, DrawnImages, DrawnMap
from .figures import INK, MUTED, Ink
from .panels import COLORS, HIGH, LOW, Panel, Plate

Array = NDArray[np.float64]

MASSES = (0.5, 0.99)
"""The shares of the data that the contours of a map hold."""
WIDEST = 5
"""Histograms have a common axis if it is at most this many times as wide as the narrowest of them."""
REACH = 1.5
"""Histograms reach up to this many times the highest bin of what they are compared with."""


@dataclass(frozen=True)
class Shown:
    """A drawing with the label, the sampler setting and the style of its model."""

    label: str
    sampler: str
    ink: Ink
    drawing: Any

    def panel(self, alt: str, draw: Callable[[Axes], None], said: str = "", **options: Any) -> Panel:
        """The panel of this drawing. `alt` says what it shows, and `said` is its caption after the sampler setting."""
        at = f" at {self.sampler}" if self.sampler else ""
        caption = " · ".join(filter(None, (self.sampler, said)))
        return Panel(self.label, f"{alt} of {self.label}{at}.", draw, caption=caption, **options)


def maps(shown: Sequence[Shown], title: str) -> Plate:
    """Maps with one color scale, and lines that hold shares of the data."""
    panels = [one.panel(title, partial(draw_map, found=one.drawing)) for one in shown]
    return Plate(title, _reading(shown), panels, (2.1, 2.1), colors=True)


def fields(shown: Sequence[Shown], title: str) -> Plate:
    """Fields of arrows, the first ones in the color of the model and the others in gray below."""
    panels = [
        one.panel(title, partial(draw_field, found=one.drawing, color=one.ink.color), raster=True) for one in shown
    ]
    names = [arrows.title for arrows in shown[0].drawing.arrows]
    key = f"Color: {names[0]}; gray: {', '.join(names[1:])}." if len(names) > 1 else ""
    return Plate(title, _reading(shown), panels, (2.6, 2.6), columns=3, notes=[key])


def histograms(shown: Sequence[Shown], title: str) -> Plate:
    """Histograms on common axes, the first series filled and the others as lines."""
    found: list[DrawnHistogram] = [one.drawing for one in shown]
    limits = _limits(found)
    panels = [
        one.panel(title, partial(draw_histogram, found=one.drawing, color=one.ink.color, limits=own))
        for one, own in zip(shown, limits, strict=True)
    ]
    styles = ("filled", "line", "dashed line", "dotted line")
    names = [series.title for series in found[0].series]
    key = "; ".join(f"{style}: {name}" for style, name in zip(styles, names, strict=False) if name)
    key = f"{key[:1].upper()}{key[1:]}." if key else ""
    if any(_highest(one) > own[2] for one, own in zip(found, limits, strict=True)):
        key += " Bars that leave the picture are higher than it."
    if len(set(limits)) > 1:
        key += " The pictures have different axes, because the models differ too much for common ones."
    return Plate(title, _reading(shown), panels, (2.3, 1.5), margins=(0.12, 0.38), notes=[key])


def frames(shown: Sequence[Shown], title: str) -> Plate:
    """Points after several steps, from left to right."""
    panels = []
    for one in shown:
        found: DrawnFrames = one.drawing
        steps = f"after {', '.join(str(step) for step in found.steps)} steps"
        draw = partial(draw_frames, found=found, color=one.ink.color)
        panels.append(one.panel(f"{title}: points {steps}, from left to right,", draw, steps, raster=True))
    most = max(len(one.drawing.steps) for one in shown)
    return Plate(title, _reading(shown), panels, (0.95 * most, 0.95), columns=1, wide=True)


def images(shown: Sequence[Shown], title: str) -> Plate:
    """Images in a grid, without smoothing."""
    panels = []
    for one in shown:
        found: DrawnImages = one.drawing
        alt = f"{title}: rows {', '.join(found.rows)}; columns {', '.join(found.columns)};"
        sheet = image_sheet(found)
        draw = partial(draw_images, sheet=sheet)
        columns = ", ".join(found.columns) if len(found.columns) <= 8 else ""
        panels.append(one.panel(alt, draw, columns, pixels=pictures.mosaic_png(sheet)))
    first: DrawnImages = shown[0].drawing
    width, shape = 6.0, (len(first.rows) * first.shape[0], len(first.columns) * first.shape[1])
    key = f"Rows: {', '.join(first.rows)}."
    return Plate(
        title, _reading(shown), panels, (width, width * shape[0] / shape[1]), columns=1, wide=True, notes=[key]
    )


PLATES: dict[str, tuple[type[Any], Callable[[Sequence[Shown], str], Plate]]] = {
    "map": (DrawnMap, maps),
    "field": (DrawnField, fields),
    "histogram": (DrawnHistogram, histograms),
    "frames": (DrawnFrames, frames),
    "images": (DrawnImages, images),
}
"""The drawings that are shown in panels, by their key: what is read, and what makes a plate of them."""


def draw_map(axes: Axes, found: DrawnMap) -> None:
    """A map in color, with the lines of the data."""
    values = np.clip(np.array(found.values), LOW / 10, None)
    axes.imshow(values, origin="lower", extent=_box(found), aspect="auto", cmap=COLORS, norm=LogNorm(LOW, HIGH))
    _lines(axes, found, "#ffffff")
    _bare(axes)


def draw_field(axes: Axes, found: DrawnField, color: str) -> None:
    """Arrows over the lines of the data. The first ones are on top."""
    _lines(axes, found, MUTED)
    cell = (found.x[1] - found.x[0], found.y[1] - found.y[0])
    x, y = np.meshgrid(found.x, found.y)
    for place, arrows in reversed(list(enumerate(found.arrows))):
        u, v = np.array(arrows.u) * cell[0], np.array(arrows.v) * cell[1]
        axes.quiver(
            x, y, u, v, angles="xy", scale_units="xy", scale=0.9, zorder=3 - place, minlength=0.3,
            color=color if place == 0 else "#9aa5af", width=0.005 if place == 0 else 0.009, headwidth=3.2, headlength=4,
        )  # fmt: skip
    x_low, x_high, y_low, y_high = _box(found)
    axes.set(xlim=(x_low - cell[0] / 2, x_high + cell[0] / 2), ylim=(y_low - cell[1] / 2, y_high + cell[1] / 2))
    _bare(axes)


def draw_histogram(axes: Axes, found: DrawnHistogram, color: str, limits: tuple[float, float, float]) -> None:
    """The densities of the series over the bins, within the limits (left, right, top)."""
    edges = np.array(found.edges)
    heights = [_heights(found, place) for place in range(len(found.series))]
    if found.bars:
        centers = (edges[1:] + edges[:-1]) / 2
        axes.bar(centers, heights[0], width=0.8 * np.diff(edges), color=color, alpha=0.75, linewidth=0)
        for other in heights[1:]:
            axes.hlines(other, edges[:-1] + 0.02, edges[1:] - 0.02, color=INK, lw=1.1)
    else:
        axes.stairs(heights[0], edges, fill=True, color=color, alpha=0.45, linewidth=0)
        for other, dash in zip(heights[1:], ((), (3, 1.5), (1, 1.2)), strict=False):
            axes.stairs(other, edges, color=INK, lw=0.9, ls=(0, dash) if dash else "-")
    left, right, top = limits
    axes.set(xlim=(left, right), ylim=(0, top))
    axes.set_xlabel(found.x_title[:60], fontsize=7, labelpad=2)
    one_axis(axes, MaxNLocator(5, integer=found.bars))


def one_axis(axes: Axes, ticks: MaxNLocator) -> None:
    """Leave only the axis below, with small labels."""
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    axes.tick_params(axis="x", labelsize=7, length=2, pad=2)
    axes.xaxis.set_major_locator(ticks)


def draw_frames(axes: Axes, found: DrawnFrames, color: str) -> None:
    """Points after each step, side by side on the same axes."""
    points = np.array(found.points)
    frame = pictures.common_frame(points[-1])
    left, right, low, high = frame.box
    wide, tall = 1.3 * (right - left), 1.3 * (high - low)
    left, low = (left + right - wide) / 2, (low + high - tall) / 2
    for place, cloud in enumerate(points):
        inside = ((cloud >= [left, low]) & (cloud <= [left + wide, low + tall])).all(1)
        at = (cloud[inside] - [left, low]) / [wide, tall] + [place, 0]
        axes.scatter(at[:, 0], at[:, 1], s=2.2, c=color, alpha=0.75, linewidths=0)
        if place:
            axes.axvline(place, color="#9aa5af", lw=0.6)
    axes.set(xlim=(0, len(points)), ylim=(0, 1))
    _bare(axes)


def draw_images(axes: Axes, sheet: Array) -> None:
    """The sheet of a grid of images."""
    axes.imshow(sheet, interpolation="nearest")
    _bare(axes)


def image_sheet(found: DrawnImages) -> Array:
    """The images of a grid as one RGB array, with a line between them."""
    grid = found.grid()
    rows, columns, height, width, _ = grid.shape
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), 0.35)
    for row in range(rows):
        for column in range(columns):
            top, left = 1 + row * (height + 1), 1 + column * (width + 1)
            sheet[top : top + height, left : left + width] = grid[row, column]
    return sheet


def _reading(shown: Sequence[Shown]) -> str:
    return str(shown[0].drawing.reading)


def _box(found: DrawnMap | DrawnField) -> tuple[float, float, float, float]:
    return found.x[0], found.x[-1], found.y[0], found.y[-1]


def _bare(axes: Axes) -> None:
    axes.axis("off")


def _lines(axes: Axes, found: DrawnMap | DrawnField, color: str) -> None:
    """The lines that hold the `MASSES` of the data."""
    if found.log_density is None:
        return
    density = np.exp(np.array(found.log_density))
    levels = sorted({level(density, mass) for mass in MASSES})
    axes.contour(found.x, found.y, density, levels=levels, colors=[color], linewidths=0.8)


def level(density: Array, mass: float) -> float:
    """The density above which this share of the mass lies, on a grid."""
    ordered = np.sort(density.ravel())[::-1]
    shares = np.cumsum(ordered) / ordered.sum()
    return float(ordered[min(int(np.searchsorted(shares, mass)), len(ordered) - 1)])


def _heights(found: DrawnHistogram, place: int) -> Array:
    heights: Array = np.array(found.series[place].shares) / np.diff(found.edges)
    return heights


def _limits(found: Sequence[DrawnHistogram]) -> list[tuple[float, float, float]]:
    """The limits (left, right, top) of each histogram: common ones, unless a common axis would be too wide for some.

    The top follows what all are compared with, so that one model with a peak does not flatten the others.
    """
    left, right = min(one.edges[0] for one in found), max(one.edges[-1] for one in found)
    if right - left > WIDEST * min(one.edges[-1] - one.edges[0] for one in found):
        return [(one.edges[0], one.edges[-1], 1.05 * _highest(one) or 1.0) for one in found]
    highest = max(_highest(one) for one in found)
    usual = max(float(_heights(one, len(one.series) - 1).max()) for one in found)
    top = min(highest, REACH * usual) if usual > 0 else highest
    return [(left, right, 1.05 * top or 1.0)] * len(found)


def _highest(found: DrawnHistogram) -> float:
    return max(float(_heights(found, place).max()) for place in range(len(found.series)))
