"""The three corners of the trilemma as parallel axes: quality, coverage and speed of each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from .. import numbers
from ..figures import INK, MUTED, PAPER, Ink
from ..plots import LOG_RATIO
from .front import Picture, Point

SAYS = "The three corners: each model at its best quality setting. Up is better on every axis."


@dataclass(frozen=True)
class Corner:
    """One axis: its name, metric and the best and worst value, and the height of each model between 0 and 1."""

    name: str
    title: str
    best: float
    worst: float
    heights: tuple[float, ...]


@dataclass(frozen=True)
class Corners:
    """The axes, and the models whose lines cross them."""

    axes: tuple[Corner, ...]
    labels: tuple[str, ...]
    inks: tuple[Ink, ...]


def corners(picture: Picture, groups: dict[str, str]) -> Corners | None:
    """The corners of a picture, with each model at its best setting in the first quality; None with fewer than three.

    `groups` are the groups of metrics. Without a metric of coverage, the likelihood stands for it if all models have
    one of the same kind. Models without a number for every axis are left out.
    """
    quality = picture.qualities[0]
    second = [q for q in picture.qualities[1:] if groups[q.metric] == "coverage"]
    second += [q for q in picture.qualities[1:] if groups[q.metric] == "likelihood" and q.ranked]
    if not second or quality.better not in ("lower", "higher"):
        return None
    cover, cost = second[0], picture.costs[-1 if len(picture.costs) < 2 else 0]
    sign = -1.0 if quality.better == "higher" else 1.0
    best: dict[str, Point] = {}
    for point in picture.points:
        if point.marked or cost.metric not in point.costs:
            continue
        if quality.metric in point.qualities and cover.metric in point.qualities:
            old = best.get(point.model)
            if old is None or sign * point.qualities[quality.metric][0] < sign * old.qualities[quality.metric][0]:
                best[point.model] = point
    if len(best) < 2:
        return None
    points = list(best.values())
    axes = [
        _corner("Quality", quality.title, quality.better, [p.qualities[quality.metric][0] for p in points],
                quality.scale.noise),
        _corner("Coverage", cover.title, cover.better, [p.qualities[cover.metric][0] for p in points],
                cover.scale.noise),
        _corner("Speed", cost.title, "lower", [p.costs[cost.metric] for p in points], None),
    ]  # fmt: skip
    return Corners(tuple(axes), tuple(best), tuple(picture.inks[label] for label in best))


def drawn(found: Corners) -> Callable[[Figure], None]:
    """A function that draws the corners into a figure."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(found.axes))
        axes.set(xlim=(-0.35, len(places) - 0.65), ylim=(-0.22, 1.42))
        axes.axis("off")
        for x, corner in enumerate(found.axes):
            axes.plot([x, x], [0, 1], color=MUTED, lw=0.8, zorder=1)
            axes.text(x, 1.3, corner.name, ha="center", fontsize=9, color=INK)
            for y, value, where in ((1.04, corner.best, "bottom"), (-0.04, corner.worst, "top")):
                axes.text(x, y, numbers.plain(value, 2), ha="center", va=where, fontsize=8, color=MUTED)
        for k, ink in enumerate(found.inks):
            heights = [corner.heights[k] for corner in found.axes]
            axes.plot(places, heights, color=ink.color, marker=ink.marker, lw=1.3, markersize=5.5,
                      markeredgecolor=PAPER, markeredgewidth=0.5, zorder=3, clip_on=False)  # fmt: skip

    return draw


def alternative(found: Corners) -> str:
    """The text in place of the drawing."""
    names = ", ".join(f"{corner.name} ({corner.title})" for corner in found.axes)
    return f"Parallel axes of {names}, one line for each of {', '.join(found.labels)}."


def _corner(name: str, title: str, better: str, values: Sequence[float], noise: float | None) -> Corner:
    array = np.array(values)
    scaled = array
    if noise:
        scaled = np.sign(array) * np.log1p(np.abs(array) / noise)
    elif array.min() > 0 and array.max() > LOG_RATIO * array.min():
        scaled = np.log(array)
    width = float(np.ptp(scaled)) or 1.0
    heights = (scaled - scaled.min()) / width if better == "higher" else (scaled.max() - scaled) / width
    ends = (array.max(), array.min()) if better == "higher" else (array.min(), array.max())
    return Corner(name, title, float(ends[0]), float(ends[1]), tuple(map(float, heights)))
