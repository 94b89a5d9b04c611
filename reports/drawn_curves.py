"""The figure of the curves that metrics give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from .drawn import DrawnCurve
from .figures import MUTED, Ink
from .plots import DASHES


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
            axes.set_yscale("log", subs=[])
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
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


def _plain(value: float, position: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
