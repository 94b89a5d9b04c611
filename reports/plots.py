"""Figures of quality against cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from .figures import INK, MUTED, PAPER, Ink
from .ticks import log_ticks

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
SHORT = 30
"""Letters of a name in a legend of few rows."""
ROWS, ROW = 4, 0.17
"""Rows of a legend that a figure has room for, and inches that each further one adds to its height."""
LOG_RATIO = 4
"""The quality axis is logarithmic if the largest value is more than this many times the smallest."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One line of a figure: cost, quality and its interval at each sampler setting, by rising cost.

    With `filled`, the markers of the other points are hollow.
    """

    label: str
    ink: Ink
    dash: int
    x: Array
    y: Array
    low: Array
    high: Array
    filled: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scale:
    """The references of a figure: the floor with its interval `(value, low, high)`, and the values of controls.

    With `noise`, the size of what chance does, the axis is linear up to it and logarithmic above. `front` are the steps
    of the Pareto front: cost, best quality up to this cost, and the interval of this, `(steps, 4)`.
    """

    floor: tuple[float, float, float] | None
    controls: dict[str, float]
    noise: float | None = None
    front: Array | None = None


def quality_against_cost(
    curves: list[Curve], scale: Scale, cost: str, quality: str, *, legend: bool = False, rows: int | None = None
) -> Callable[[Figure], None]:
    """A function that draws `curves` into a figure; `cost` and `quality` are axis titles.

    A legend makes the figure higher, so that its rows take nothing from the axes. With `rows` it has no more than that
    many, with short names, and the figure keeps its size.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        low, high, log = limits(curves, scale)
        axes.set(xscale="log", yscale="log" if log and not scale.noise else "linear", xlabel=cost, ylabel=quality)
        if log and scale.noise:
            axes.set_yscale("symlog", linthresh=scale.noise, linscale=0.5)
            axes.set_yticks([0.0, *log_ticks(scale.noise, high)])
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(_number))
        axes.set_ylim(low, high)
        _cost_axis(axes, curves)
        if log and not scale.noise:
            _plain_log(axes.yaxis)
        if scale.front is not None:
            _front(axes, scale.front)
        lines = [_line(axes, curve) for curve in curves]
        if scale.floor:
            value, floor_low, floor_high = scale.floor
            axes.axhspan(floor_low, floor_high, color=MUTED, alpha=0.16, lw=0, zorder=0)
            axes.axhline(value, color=MUTED, lw=0.9, dashes=(4, 3), zorder=1)
        _controls(axes, scale, low, high)
        if legend:
            _legend(figure, lines, [curve.label for curve in curves], rows)

    return draw


def limits(curves: list[Curve], scale: Scale) -> tuple[float, float, bool]:
    """The limits and type `(low, high, log)` of the quality axis. It shows all curves and the floor.

    Controls do not extend it.
    """
    values = np.concatenate([c.y for c in curves] + [np.array(scale.floor or ())])
    ends = np.concatenate([values, *[c.low for c in curves], *[c.high for c in curves]])
    ends = ends[np.isfinite(ends)]
    if scale.noise:
        low, high = min(-0.6 * scale.noise, float(ends.min())), max(2 * scale.noise, float(ends.max()))
        return low, high * 1.25, True
    if values.min() > 0 and values.max() > LOG_RATIO * values.min():
        low = max(ends[ends > 0].min(), values.min() / 2)
        return float(low / 1.25), float(min(ends.max(), values.max() * 2) * 1.25), True
    margin = 0.08 * (float(np.ptp(ends)) or abs(float(ends.max())) or 1.0)
    return float(ends.min()) - margin, float(ends.max()) + margin, False


class Styled(Protocol):
    """What has the style of a line."""

    @property
    def ink(self) -> Ink: ...

    @property
    def dash(self) -> int: ...


def key(curve: Styled) -> Markup:
    """The line and marker of a curve as a small SVG for the legend of the page."""
    dash = f' stroke-dasharray="{" ".join(map(str, DASHES[curve.dash]))}"' if DASHES[curve.dash] else ""
    color = f"var(--{curve.ink.variable})"
    shape = _KEY_SHAPES[curve.ink.marker]
    return Markup(  # every part is a constant of this package, so nothing needs escaping
        f'<svg viewBox="0 0 34 10" aria-hidden="true"><path d="M0 5H34" fill="none" stroke="{color}" '
        f'stroke-width="1.6"{dash}/><path d="{shape}" fill="{color}"/></svg>'
    )


def _legend(figure: Figure, lines: list[Line2D], names: list[str], rows: int | None) -> None:
    """Put the names of the curves below the axes: all of them, or as many as `rows` hold."""
    names = [f" {name}" if name.startswith("_") else name for name in names]  # matplotlib hides such names
    if rows is not None:
        names = [name if len(name) <= SHORT else f"{name[: SHORT - 1]}…" for name in names]
    columns = max(1, min(len(names), 100 // (max(map(len, names), default=0) + 9)))  # of about 100 small letters
    if rows is None:
        figure.set_figheight(figure.get_figheight() + ROW * max(0, -(-len(names) // columns) - ROWS))
    elif len(names) > rows * columns:
        left = len(names) - rows * columns + 1
        lines, names = [*lines[:-left], Line2D([], [], linestyle="none")], [*names[:-left], f"and {left} more"]
    figure.legend(lines, names, loc="outside lower left", ncols=columns, fontsize=8, handlelength=2.2)


def _line(axes: Axes, curve: Curve) -> Line2D:
    """Draw a curve with its bars, without `errorbar`, which takes long. Returns the curve."""
    low, high = (np.where(np.isfinite(end), end, curve.y) for end in (curve.low, curve.high))
    low, high = np.minimum(low, curve.y), np.maximum(high, curve.y)
    axes.vlines(curve.x, low, high, colors=curve.ink.color, lw=1.0, zorder=2.9)
    (line,) = axes.plot(
        curve.x,
        curve.y,
        color=curve.ink.color,
        marker=curve.ink.marker,
        markersize=6.5 if curve.ink.marker in "PX" else 5.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.5,
        lw=1.5,
        zorder=3,
    )
    line.set_dashes(DASHES[curve.dash] or (None, None))
    if curve.filled is not None:
        hollow = ~curve.filled
        edge: dict[str, Any] = {
            "markeredgecolor": curve.ink.color,
            "markeredgewidth": 1.2,
            "markersize": 5.5,
            "zorder": 4,
        }
        axes.plot(curve.x[hollow], curve.y[hollow], curve.ink.marker, markerfacecolor=PAPER, **edge)
    return line


def _front(axes: Axes, steps: Array) -> None:
    """Draw the front as steps that go on to the right edge, with its interval as a band."""
    right = axes.get_xlim()[1]
    x, y, low, high = np.vstack([steps, [right, *steps[-1, 1:]]]).T
    axes.fill_between(x, low, high, step="post", color=INK, alpha=0.1, lw=0, zorder=1)
    axes.step(x, y, where="post", color=INK, lw=1.1, alpha=0.7, zorder=2)


def _cost_axis(axes: Axes, curves: list[Curve]) -> None:
    x = np.concatenate([curve.x for curve in curves])
    pad = 1.35 if x.max() > 1.5 * x.min() else 3.0
    axes.set_xlim(x.min() / pad, x.max() * pad)
    _plain_log(axes.xaxis)


def _plain_log(axis: Axis) -> None:
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    subs: tuple[float, ...] = (1.0,) if decades > 3.2 else (1.0, 3.0) if decades > 1.8 else (1.0, 2.0, 5.0)
    if decades < 1:
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _: int) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _controls(axes: Axes, scale: Scale, low: float, high: float) -> None:
    """Draw controls inside the axis as dotted lines. Their names are at the right, moved apart if they overlap."""
    marks = dict(scale.controls)
    if scale.floor:
        marks = {"floor": scale.floor[0], **marks}
    inside = sorted((value, name) for name, value in marks.items() if low < value < high)

    def place(value: float) -> float:
        """The height of a value as a share of the axis."""
        return float(axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[0], value)))[1])

    previous = -1.0
    for value, name in inside:
        if name != "floor":
            axes.axhline(value, color=MUTED, lw=0.8, ls=(0, (1, 2.5)), zorder=1)
        height = max(place(value), previous + 0.052)
        previous = height
        ink: dict[str, Any] = {"transform": axes.transAxes, "color": INK if name == "floor" else MUTED}
        axes.text(1.035, height, name, va="center", fontsize=8, **ink)
        # Not an annotation, whose arrow takes long to draw.
        axes.add_line(Line2D([1.0, 1.035], [place(value), height], lw=0.5, clip_on=False, **ink | {"color": MUTED}))


_KEY_SHAPES = {
    "o": "M14 5a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "s": "M14.2 2.2h5.6v5.6h-5.6z",
    "D": "M17 1.2L20.8 5L17 8.8L13.2 5z",
    "^": "M17 1.5L20.6 8H13.4z",
    "v": "M17 8.5L20.6 2H13.4z",
    "P": "M15.8 1.5h2.4v2.3h2.3v2.4h-2.3v2.3h-2.4v-2.3h-2.3V3.8h2.3z",
    "X": "M15 1.6L17 3.6L19 1.6L20.4 3L18.4 5L20.4 7L19 8.4L17 6.4L15 8.4L13.6 7L15.6 5L13.6 3z",
    "p": "M17 1.4L20.7 4.1L19.3 8.4H14.7L13.3 4.1z",
}
