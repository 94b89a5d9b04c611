"""Curves and maps that metrics give in the details of their results, and the figures that show them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from .figures import INK, MUTED, Ink
from .plots import DASHES

Array = NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=600)]
Drawn = TypeVar("Drawn", bound=BaseModel)

LOW, HIGH = 0.01, 1.0
"""The range of the color scale of maps, which is logarithmic."""
MASSES = (0.5, 0.99)
"""The shares of the data that the contours of a map hold."""


class DrawnCurve(BaseModel):
    """A curve in the details of a result, under the key `curve`."""

    x: list[Finite] = Field(min_length=2, max_length=2_000)
    y: list[Finite]
    x_title: Text = ""
    y_title: Text = ""
    floor: Finite | None = None
    reading: Text = ""

    @model_validator(mode="after")
    def _matches(self) -> DrawnCurve:
        if len(self.x) != len(self.y):
            raise ValueError("x and y have different lengths")
        return self


class DrawnMap(BaseModel):
    """A map in the details of a result, under the key `map`: positive values on a grid, rows by `y`."""

    x: list[Finite] = Field(min_length=2, max_length=500)
    y: list[Finite] = Field(min_length=2, max_length=500)
    values: list[list[Finite]]
    log_density: list[list[Finite]] | None = None
    title: Text = ""
    reading: Text = ""

    @model_validator(mode="after")
    def _matches(self) -> DrawnMap:
        for grid in (self.values, self.log_density):
            if grid is not None and [len(row) for row in grid] != [len(self.x)] * len(self.y):
                raise ValueError("the grid does not match x and y")
        return self


def drawn(cls: type[Drawn], key: str, details: str) -> Drawn | None:
    """The curve or map in the column `details`; None if there is none, or if it is not what it should be."""
    if f'"{key}"' not in details:
        return None
    try:
        return cls.model_validate(json.loads(details)[key])
    except (ValueError, ValidationError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Line:
    """A curve with its label and style."""

    label: str
    ink: Ink
    dash: int
    curve: DrawnCurve


def curves_figure(lines: Sequence[Line], *, legend: bool = False) -> Callable[[Figure], None]:
    """A function that draws curves over a common axis from 0 on, logarithmic beyond 1."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xscale("symlog", linthresh=1, linscale=0.3)
        first = lines[0].curve
        axes.set(xlabel=first.x_title, ylabel=first.y_title)
        if min(min(line.curve.y) for line in lines) > 0:
            axes.set_yscale("log")
        for line in lines:
            (path,) = axes.plot(line.curve.x, line.curve.y, color=line.ink.color, lw=1.5, label=line.label)
            path.set_dashes(DASHES[line.dash] or (None, None))
        axes.set_xlim(0, max(max(line.curve.x) for line in lines))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(_plain))
        floors = [line.curve.floor for line in lines if line.curve.floor is not None]
        if floors:
            axes.axhline(float(np.mean(floors)), color=MUTED, lw=0.9, dashes=(4, 3), zorder=1)
        if legend:
            figure.legend(loc="outside lower left", ncols=1 if len(lines) > 6 else 2, fontsize=8)

    return draw


def maps_figure(maps: Sequence[tuple[str, DrawnMap]], columns: int) -> Callable[[Figure], None]:
    """A function that draws maps with their labels in a grid, with one color scale."""

    def draw(figure: Figure) -> None:
        rows = math.ceil(len(maps) / columns)
        grid = figure.subplots(rows, columns, squeeze=False)
        shown = None
        for axes, (label, found) in zip(grid.ravel(), maps, strict=False):
            shown = _map(axes, label, found)
        for axes in grid.ravel()[len(maps) :]:
            axes.axis("off")
        if shown is not None:
            bar = figure.colorbar(shown, ax=grid, shrink=0.8, extend="both")
            bar.outline.set_visible(False)
            bar.ax.yaxis.set_major_formatter(FuncFormatter(_plain))

    return draw


def _map(axes: Axes, label: str, found: DrawnMap) -> AxesImage:
    values = np.clip(np.array(found.values), LOW / 10, None)
    box = (found.x[0], found.x[-1], found.y[0], found.y[-1])
    image = axes.imshow(values, origin="lower", extent=box, aspect="auto", cmap="cividis", norm=LogNorm(LOW, HIGH))
    if found.log_density is not None:
        density = np.exp(np.array(found.log_density))
        levels = sorted({_level(density, mass) for mass in MASSES})
        axes.contour(found.x, found.y, density, levels=levels, colors=["#ffffff"], linewidths=0.9)
    axes.set_title(label.replace("(", "\n(", 1), fontsize=7, loc="left", color=INK)
    axes.set_box_aspect(1)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    return image


def _plain(value: float, position: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _level(density: Array, mass: float) -> float:
    """The density above which this share of the mass lies, on a grid."""
    ordered = np.sort(density.ravel())[::-1]
    shares = np.cumsum(ordered) / ordered.sum()
    return float(ordered[min(int(np.searchsorted(shares, mass)), len(ordered) - 1)])


def rows_with(view_rows: Any, key: str) -> Any:
    """The rows of a frame whose details may hold a drawing under `key`, of the first seed of each line."""
    details = view_rows["details"].fillna("").astype(str)
    found = view_rows[details.str.contains(f'"{key}"', regex=False) & (view_rows["outcome"] == "ok")]
    keys = ["dataset_id", "metric", "label", "sampler", "budget", "device", "trained_on"]
    return found.sort_values("seed", kind="stable").drop_duplicates(keys).sort_index()
