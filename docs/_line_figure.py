"""Figures of pages: numbers of several trainings against a number that was set, such as steps, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from markupsafe import Markup, escape

from trilemma.reports import numbers
from trilemma.reports.ticks import even_ticks, log_ticks

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 24, 34
LOGARITHMIC = 4.0
"""From this ratio of the largest to the smallest positive value on, an axis is logarithmic."""


@dataclass(frozen=True)
class Line:
    """Values of the training seeds by the number that was set. The values at None hold for all such numbers."""

    label: str
    color: str
    dashed: bool
    values: dict[float | None, list[float]]

    def finite(self) -> dict[float | None, list[float]]:
        """The finite values by the number that was set."""
        kept = {at: [v for v in values if math.isfinite(v)] for at, values in self.values.items()}
        return {at: values for at, values in kept.items() if values}


@dataclass(frozen=True)
class Panel:
    """One pair of axes: the lines, the value that is right or least, if it is known, and the name of what was set."""

    title: str
    lines: Sequence[Line]
    right: float | None = None
    across: str = "steps"


def figure(name: str, panels: Sequence[Panel]) -> Markup:
    """The panels side by side, with a legend above."""
    width = WIDTH * len(panels)
    legend = list(_legend(panels[0].lines))
    parts = [part for number, panel in enumerate(panels) for part in _panel(panel, number * WIDTH, 44)]
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="lines" viewBox="0 0 {} {}" width="{}" role="img" '
        'style="max-width:100%;height:auto;font:11px system-ui,sans-serif" aria-label="{}">'
    ).format(
        width, HEIGHT + 44, width, f"{', '.join(panel.title for panel in panels)} against {panels[0].across}: {name}"
    )
    return head + Markup("").join([*legend, *parts]) + Markup("</svg>")


def _legend(lines: Sequence[Line]) -> Iterator[Markup]:
    for number, line in enumerate(lines):
        x, y = 10 + 225 * (number % 3), 10 + 16 * (number // 3)
        yield _stroke(x, y, x + 24, y, line.color, dashed=line.dashed, width=2)
        yield _text(x + 30, y + 4, line.label)


def _panel(panel: Panel, left: float, top: float) -> Iterator[Markup]:
    finite = [line.finite() for line in panel.lines]
    values = [v for line in finite for group in line.values() for v in group]
    values += [] if panel.right is None else [panel.right]
    places = sorted({at for line in finite for at in line if at is not None}) or [1.0]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    log = low > 0 and high / low >= LOGARITHMIC
    margin = 0.06 * ((math.log(high / low) if log else high - low) or 1.0)
    low, high = (low / math.exp(margin), high * math.exp(margin)) if log else (low - margin, high + margin)
    x0, x1, y0, y1 = left + LEFT, left + WIDTH - RIGHT, top + HEIGHT - BOTTOM, top + TOP

    def across(at: float) -> float:
        first, last, here = (math.log2(x) if places[0] > 0 else x for x in (places[0], places[-1], at))
        return x0 + 12 + (here - first) / (last - first or 1.0) * (x1 - x0 - 24)

    def up(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return y0 + share * (y1 - y0)

    yield _text(left + 10, top + 14, panel.title + (" (logarithmic)" if log else ""), weight=600)
    for tick in (log_ticks if log else even_ticks)(low, high):
        yield _stroke(x0, up(tick), x1, up(tick), "currentColor", opacity=0.15)
        yield _text(x0 - 6, up(tick) + 4, f"{tick:g}".replace("-", numbers.MINUS), anchor="end")
    for at in places:
        yield _text(across(at), y0 + 14, f"{at:g}", anchor="middle")
    yield _text((x0 + x1) / 2, y0 + 28, panel.across, anchor="middle")
    if panel.right is not None:
        yield _stroke(x0, up(panel.right), x1, up(panel.right), "currentColor", opacity=0.7)
    for line, groups in zip(panel.lines, finite, strict=True):
        if None in groups:
            y = up(median(groups[None]))
            yield _stroke(x0, y, x1, y, line.color, dashed=line.dashed, width=2)
            continue
        middles = [(across(at), up(median(groups[at]))) for at in places if at in groups]
        for (a, b), (c, d) in pairwise(middles):
            yield _stroke(a, b, c, d, line.color, dashed=line.dashed, width=2)
        for at, group in groups.items():
            assert at is not None
            yield from (_dot(across(at), up(value), line.color, hollow=line.dashed) for value in group)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="currentColor" text-anchor="{}" font-weight="{}">{}</text>').format(
        x, y, anchor, weight, escape(text)
    )


def _stroke(
    x: float, y: float, x2: float, y2: float, color: str, *, dashed: bool = False, opacity: float = 1, width: float = 1
) -> Markup:
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-opacity="{}" stroke-width="{}"{}/>'
    ).format(x, y, x2, y2, color, opacity, width, Markup(' stroke-dasharray="5 3"') if dashed else "")


def _dot(x: float, y: float, color: str, *, hollow: bool) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" stroke="{}" fill="{}" fill-opacity="0.6"/>').format(
        x, y, color, "none" if hollow else color
    )
