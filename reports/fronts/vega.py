"""The picture of quality against cost as Vega-Lite: a template with open places, what may fill them, and the data.

The page fills the template again for each choice of axes, in the same way as `filled`. Names of models are data and
never become part of the template, so they are never read as expressions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from .. import html, numbers
from ..plots import Curve
from ..ticks import even_ticks, log_ticks
from .front import Cost, Picture, Quality

SHAPES = {
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross",
    "X": "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z",
    "p": "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
}  # fmt: skip
_INK, _MUTED, _RULE, _PAPER = "var(--ink)", "var(--muted)", "var(--rule)", "var(--paper)"
_FEW_LABELS = 12
"""Of more models on a front, none is named in the picture."""
CLOSE = 0.045
"""The share of an axis that a line of small text takes."""
NAME_STARTS = 0.75
"""The share of the axis of cost after which a name stands on the left of its mark."""


def library() -> Markup:
    """The JavaScript of Vega, Vega-Lite and vega-embed, as text for the page, which runs it when it is needed."""
    return Markup((html.TEMPLATES / "vega" / "vega.js").read_text(encoding="utf-8"))


def payload(picture: Picture) -> dict[str, Any]:
    """All that the page needs to draw the picture for every choice of axes. It is JSON without NaN."""
    labels = list(dict.fromkeys(point.model for point in picture.points))
    points = []
    for i, point in enumerate(picture.points):
        ink = picture.inks[point.model]
        record: dict[str, Any] = {
            "i": i, "m": labels.index(point.model), "line": point.line, "label": point.label, "sampler": point.sampler,
            "color": f"var(--{ink.variable})", "shape": SHAPES[ink.marker],
            "cost": " · ".join(
                f"{cost.title}: {numbers.plain(point.costs[cost.metric])}"
                for cost in picture.costs if cost.metric in point.costs
            ),
        }  # fmt: skip
        record["label"] += " (marked, not ranked)" if point.marked else ""
        for k, cost in enumerate(picture.costs):
            record[f"c{k}"] = _finite(point.costs.get(cost.metric, math.nan))
        for k, quality in enumerate(picture.qualities):
            value, low, high = point.qualities.get(quality.metric, (math.nan,) * 3)
            record |= {f"q{k}": _finite(value), f"q{k}l": _finite(low), f"q{k}h": _finite(high)}
            record[f"q{k}t"] = _with_interval(value, low, high)
        points.append(record)
    fronts = [[_front(picture, c, q) for q in range(len(picture.qualities))] for c in range(len(picture.costs))]
    return {
        "template": _template(),
        "costs": [_cost(picture, k) for k in range(len(picture.costs))],
        "qualities": [_quality(picture, k) for k in range(len(picture.qualities))],
        "points": points,
        "fronts": fronts,
    }


def filled(data: dict[str, Any], cost: int = 0, quality: int = 0) -> dict[str, Any]:
    """The Vega-Lite specification of one choice of axes, from a payload. `answer.js` does the same in the page."""
    places = data["costs"][cost]["places"] | data["qualities"][quality]["places"]
    spec: dict[str, Any] = _fill(data["template"], places)
    front, on = data["fronts"][cost][quality], set(data["fronts"][cost][quality]["on"])
    spec["datasets"] = {
        "points": [point | {"on": point["i"] in on} for point in data["points"]],
        "front": [dict(zip("xylh", step, strict=True)) for step in front["steps"]],
        "names": [data["points"][i] | {"end": end} for i, end in front["names"]],
        **data["qualities"][quality]["datasets"],
    }
    return spec


def inlined(data: dict[str, Any]) -> Markup:
    """JSON for a script element of a page: no text in it can end the element or open another one."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _fill(part: Any, places: dict[str, Any]) -> Any:
    """A copy of a template in which every string that names an open place is replaced by what fills it."""
    if isinstance(part, dict):
        return {key: _fill(value, places) for key, value in part.items()}
    if isinstance(part, list):
        return [_fill(value, places) for value in part]
    return places.get(part, part) if isinstance(part, str) else part


def _extent(picture: Picture, cost: Cost) -> tuple[float, float]:
    """The limits of the axis of a cost."""
    values = [point.costs[cost.metric] for point in picture.points if cost.metric in point.costs]
    low, high = min(values), max(values)
    pad = 1.35 if high > 1.5 * low else 3.0
    return low / pad, high * pad


def _cost(picture: Picture, k: int) -> dict[str, Any]:
    cost = picture.costs[k]
    extent = _extent(picture, cost)
    places = {"@c": f"c{k}", "@C": cost.title, "@cs": {"type": "log", "domain": list(extent), "nice": False},
              "@ct": log_ticks(*extent)}  # fmt: skip
    return {"title": cost.title, "places": places}


def _quality(picture: Picture, k: int) -> dict[str, Any]:
    quality = picture.qualities[k]
    low, high, log = quality.limits
    height, value = _height(quality)
    top = value(height(high) + CLOSE * (height(high) - height(low)))  # room for a name
    scale: dict[str, Any] = {"domain": [low, top], "nice": False}
    if log and quality.scale.noise:
        scale |= {"type": "symlog", "constant": quality.scale.noise}
        ticks = [0.0, *log_ticks(quality.scale.noise, high)]
    else:
        scale |= {"type": "log"} if log else {"type": "linear", "zero": False}
        ticks = log_ticks(low, high) if log else even_ticks(low, high)
    places = {"@q": f"q{k}", "@l": f"q{k}l", "@h": f"q{k}h", "@t": f"q{k}t", "@Q": quality.title, "@qs": scale,
              "@qt": ticks}  # fmt: skip
    floor = quality.scale.floor
    band = [dict(zip(("y", "l", "h"), map(float, floor), strict=True))] if floor else []
    controls = _apart(quality)
    return {"title": quality.title, "places": places, "datasets": {"floor": band, "controls": controls}}


def _height(quality: Quality) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """The height of a value in the picture, up to a linear function, and the value at a height."""
    _, _, log = quality.limits
    if not log:
        return float, float
    if noise := quality.scale.noise:
        return lambda value: math.asinh(value / noise), lambda height: noise * math.sinh(height)
    return math.log, math.exp


def _apart(quality: Quality) -> list[dict[str, Any]]:
    """The controls inside the axis. Those that are too near to each other for two names share one."""
    low, high, _ = quality.limits
    height, _ = _height(quality)
    inside = sorted((value, name) for name, value in quality.scale.controls.items() if low < value < high)
    found: list[dict[str, Any]] = []
    for value, name in inside:
        near = bool(found) and height(value) - height(found[-1]["y"]) < CLOSE * (height(high) - height(low))
        found.append({"name": "", "y": value})
        if near:
            found[-1]["name"], found[-2]["name"] = f"{found[-2]['name']}, {name}", ""
        else:
            found[-1]["name"] = name
    return found


def _front(picture: Picture, c: int, q: int) -> dict[str, Any]:
    cost, quality = picture.costs[c], picture.qualities[q]
    front = picture.front(cost, quality)
    steps = [list(step) for step in front.steps]
    if steps:  # it goes on to the right edge
        steps.append([max(point.costs.get(cost.metric, 0.0) for point in picture.points) * 1.35, *steps[-1][1:]])
    named: dict[str, int] = {}
    for i in front.on:
        named.setdefault(picture.points[i].model, i)
    low, high = _extent(picture, cost)

    def at_end(i: int) -> bool:
        """Whether a name would be cut by the right edge."""
        return math.log(picture.points[i].costs[cost.metric] / low) > NAME_STARTS * math.log(high / low)

    names = [[i, at_end(i)] for i in named.values()] if len(named) <= _FEW_LABELS else []
    on = list(front.on) if quality.ranked else list(range(len(picture.points)))
    return {"on": on, "steps": steps, "names": names}


def _with_interval(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return ""
    shown, half = numbers.with_interval(value, (high - low) / 2)
    if not half:
        return shown
    decimals = numbers.decimals_of((high - low) / 2)
    return f"{shown} ({numbers.fixed(low, decimals)} to {numbers.fixed(high, decimals)})"


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _template() -> dict[str, Any]:
    """The specification with open places: @c cost, @q quality, @l and @h its interval, @t its text, and the axes."""
    axis = {"gridColor": _RULE, "domainColor": _MUTED, "tickColor": _MUTED, "labelColor": _MUTED, "titleColor": _INK}
    text = {"titleFontWeight": "normal", "titleFontSize": 13, "labelFontSize": 12, "labelOverlap": True}
    x = {"field": "@c", "type": "quantitative", "scale": "@cs", "title": "@C",
         "axis": {**axis, **text, "values": "@ct", "format": "~g", "titlePadding": 8}}  # fmt: skip
    y = {"field": "@q", "type": "quantitative", "scale": "@qs", "title": "@Q",
         "axis": {**axis, **text, "values": "@qt", "format": "~g", "titlePadding": 8}}  # fmt: skip

    def own(channel: dict[str, Any], field: str) -> dict[str, Any]:
        return channel | {"field": field}

    shown = [{"filter": "indexof(hidden, datum.m) < 0"}]
    color = {"field": "color", "type": "nominal", "scale": None, "legend": None}
    tooltip = [
        {"field": "label", "type": "nominal", "title": "Model"},
        {"field": "sampler", "type": "nominal", "title": "Sampler"},
        {"field": "@t", "type": "nominal", "title": "@Q"},
        {"field": "cost", "type": "nominal", "title": "Cost"},
    ]
    points = {"data": {"name": "points"}, "transform": shown}
    floor, controls, front = ({"data": {"name": name}} for name in ("floor", "controls", "front"))
    name = {"align": "right", "baseline": "bottom", "dx": -4, "dy": -2, "fontSize": 11, "clip": True}
    layers = [
        floor | {"mark": {"type": "rect", "color": _MUTED, "opacity": 0.16, "clip": True},
                 "encoding": {"y": own(y, "l"), "y2": {"field": "h"}}},
        floor | {"mark": {"type": "rule", "color": _MUTED, "strokeDash": [4, 3], "clip": True},
                 "encoding": {"y": own(y, "y")}},
        # On the left, for a control may be as good as the floor, and its name is on the right.
        floor | {"mark": {"type": "text", "color": _INK, **name, "align": "left", "dx": 4, "text": "floor"},
                 "encoding": {"y": own(y, "y"), "x": {"value": 0}}},
        controls | {"mark": {"type": "rule", "color": _MUTED, "strokeDash": [1, 3], "clip": True},
                    "encoding": {"y": own(y, "y")}},
        controls | {"mark": {"type": "text", "color": _MUTED, **name, "limit": 300},
                    "encoding": {"y": own(y, "y"), "x": {"value": "width"},
                                 "text": {"field": "name", "type": "nominal"}}},
        front | {"mark": {"type": "area", "interpolate": "step-after", "color": _INK, "opacity": 0.1, "clip": True},
                 "encoding": {"x": own(x, "x"), "y": own(y, "l"), "y2": {"field": "h"}}},
        front | {"mark": {"type": "line", "interpolate": "step-after", "color": _INK, "strokeWidth": 1.2,
                          "opacity": 0.7, "clip": True},
                 "encoding": {"x": own(x, "x"), "y": own(y, "y")}},
        points | {"mark": {"type": "rule", "clip": True},
                  "encoding": {"x": x, "y": own(y, "@l"), "y2": {"field": "@h"}, "color": color}},
        points | {"mark": {"type": "line", "strokeWidth": 1.6, "clip": True},
                  "encoding": {"x": x, "y": y, "color": color, "order": {"field": "@c", "type": "quantitative"},
                               "detail": {"field": "line", "type": "nominal"}}},
        points | {"mark": {"type": "point", "filled": True, "size": 75, "strokeWidth": 1.4, "opacity": 1, "clip": True},
                  "params": [{"name": "zoom", "bind": "scales",
                              "select": {"type": "interval", "zoom": "wheel![event.ctrlKey || event.metaKey]"}}],
                  "encoding": {"x": x, "y": y, "tooltip": tooltip,
                               "fill": color | {"condition": {"test": "!datum.on", "value": _PAPER}},
                               "stroke": color,
                               "shape": {"field": "shape", "type": "nominal", "scale": None, "legend": None}}},
        *({"data": {"name": "names"}, "transform": [*shown, {"filter": test}],
           "mark": {"type": "text", "align": align, "baseline": "bottom", "dx": dx, "dy": -5, "fontSize": 11.5,
                    "limit": 160, "clip": True},
           "encoding": {"x": x, "y": y, "text": {"field": "label", "type": "nominal"}, "color": color}}
          for test, align, dx in (("!datum.end", "left", 6), ("datum.end", "right", -6))),
    ]  # fmt: skip
    return {
        "width": "container",
        "height": "container",
        "autosize": {"type": "fit", "contains": "padding"},
        "background": None,
        "params": [{"name": "hidden", "value": []}],
        "layer": layers,
        "config": {"view": {"stroke": None}, "font": "inherit"},
    }


def line_keys(picture: Picture) -> list[tuple[int, str, Curve]]:
    """The models of a picture with their positions, each with a curve that has its style, for the legend."""
    nothing = np.zeros(0)
    labels = list(dict.fromkeys(point.model for point in picture.points))
    return [(i, label, Curve(label, picture.inks[label], 0, nothing, nothing, nothing, nothing))
            for i, label in enumerate(labels)]  # fmt: skip
