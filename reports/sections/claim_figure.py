"""The figure of a claim: the value of each arm for each training seed, with the mean, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from .. import numbers

Record = Mapping[str, Any]

WIDTH, LEFT, RIGHT = 720, 300, 20
ROW, HEAD, AXIS = 24, 26, 22
LOGARITHMIC = 20.0
"""From this ratio of the largest to the smallest value on, the axis is logarithmic."""
LONGEST = 42


def figure(record: Record) -> Markup:
    """A picture of the comparisons of a claim (a record of `trilemma.claims`); empty if there is nothing to show."""
    panels = list(_panels(record))
    if not panels:
        return Markup()
    parts, top = [], 0
    for title, arms in panels:
        parts += _panel(title, arms, top)
        top += HEAD + ROW * len(arms) + AXIS
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="claim" viewBox="0 0 {} {}" width="{}" role="img" '
        'style="max-width:100%;height:auto;font:12px system-ui,sans-serif" aria-label="{}">'
    ).format(WIDTH, top, WIDTH, f"Values by seed: {record['claim']}")
    return head + Markup("").join(parts) + Markup("</svg>")


def _panels(record: Record) -> Iterator[tuple[str, list[Record]]]:
    for part in record["comparisons"]:
        arms = part["arms"] if "arms" in part else [part["a"], part["b"]]
        metrics = dict.fromkeys(arm["metric"] for arm in arms)
        datasets = dict.fromkeys(arm["dataset"] for arm in arms)
        yield f"{' and '.join(metrics)} on {', '.join(datasets)}", arms


def _panel(title: str, arms: Sequence[Record], top: int) -> list[Markup]:
    several = len({arm["metric"] for arm in arms}) > 1
    values = [[v for v in arm["values"].values() if v is not None and math.isfinite(v)] for arm in arms]
    low, high = min(map(min, filter(None, values)), default=0.0), max(map(max, filter(None, values)), default=1.0)
    log = low > 0 and high / low >= LOGARITHMIC
    if low == high:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2

    def at(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return LEFT + 10 + share * (WIDTH - LEFT - RIGHT - 20)

    parts = [_text(0, top + 16, title, weight=600)]
    for row, (arm, own) in enumerate(zip(arms, values, strict=True)):
        y = top + HEAD + ROW * row + ROW / 2
        label = f"{arm['metric']}: {arm['label']}" if several else arm["label"]
        shown = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
        parts.append(_text(LEFT - 8, y + 4, shown, anchor="end"))
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, opacity=0.2))
        parts += [
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="currentColor" fill-opacity="0.45"/>').format(at(v), y)
            for v in own
        ]
        if own:
            mean = math.exp(sum(map(math.log, own)) / len(own)) if log else sum(own) / len(own)
            parts.append(_line(at(mean), y - 9, at(mean), y + 9, opacity=1.0, width=2))
    bottom = top + HEAD + ROW * len(arms) + 12
    ends = ((low, "start", LEFT + 10), (high, "end", WIDTH - RIGHT - 10))
    parts += [_text(x, bottom, numbers.plain(value), anchor=anchor) for value, anchor, x in ends]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom, "logarithmic" if log else "", anchor="middle"))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="currentColor" text-anchor="{}" font-weight="{}">{}</text>').format(
        x, y, anchor, weight, escape(text)
    )


def _line(x: float, y: float, x2: float, y2: float, *, opacity: float, width: float = 1) -> Markup:
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="currentColor" stroke-opacity="{}" '
        'stroke-width="{}"/>'
    ).format(x, y, x2, y2, opacity, width)
