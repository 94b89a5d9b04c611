"""Figures: inline SVG that follows the theme of the page by CSS variables for colors, and PNG for Markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1c2126", "#5b6670", "#dfe4e9", "#fefefe"

SERIES = ("#0072b2", "#d55e00", "#009e73", "#b5508f", "#c98a00", "#3fa7e0", "#6a51a3", "#7a6a53")
"""Colors of models: the color-blind-safe palette of Okabe and Ito, adapted to a white page, without yellow and black
and with two more colors."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")

_LONG = re.compile(r"(\d\.\d\d)\d+")
"""A number of an SVG with more decimals than a page can show. A point is 1.3 pixels wide."""
_THEME = {INK: "ink", MUTED: "muted", GRID: "rule", PAPER: "paper"} | {c: f"s{i}" for i, c in enumerate(SERIES)}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0,
    "ytick.minor.width": 0,
    "legend.frameon": False,
    "svg.fonttype": "none",
}
"""The settings of matplotlib for all figures."""

Layout = Literal["constrained"] | None


@dataclass(frozen=True)
class Ink:
    """The style of one model in all figures: the color of its family with its CSS variable, and its marker."""

    color: str
    variable: str
    marker: str


FAMILIES = ("flow", "diffusion", "adversarial", "restoration", "autoencoder", "descent")
"""Families that have the same color in every report."""


def inks(families: Mapping[str, str]) -> dict[str, Ink]:
    """A style for each model, from a map of labels to families: the color says the family, and the marker the model.

    A model without a family is a family of its own. Up to eight models have different markers, so that they can be told
    apart in gray; of more, those of a family have. With more than eight families, or models of a family, styles repeat.
    """
    groups = {label: family or label for label, family in families.items()}
    known = [family for family in FAMILIES if family in groups.values()]
    order = [*known, *dict.fromkeys(family for family in groups.values() if family not in known)]
    colors = {family: FAMILIES.index(family) for family in known}
    # Other families get the colors that no known one has, beginning with those that none ever has.
    free = [
        color for color in (*range(len(FAMILIES), len(SERIES)), *range(len(FAMILIES))) if color not in colors.values()
    ]
    colors |= dict(zip(order[len(known) :], cycle(free), strict=False))
    styles = {}
    for place, label in enumerate(sorted(groups, key=lambda label: order.index(groups[label]))):
        color = colors[groups[label]]
        styles[label] = Ink(SERIES[color], f"s{color}", MARKERS[place % len(MARKERS)])
    return {label: styles[label] for label in families}


def svg(draw: Callable[[Figure], None], size: tuple[float, float], alt: str, layout: Layout = "constrained") -> Markup:
    """A figure as inline SVG, which scales with the page and uses its colors. Text stays text.

    Without a layout, `draw` places its axes itself.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": alt}):
        figure = Figure(figsize=size, layout=layout, facecolor="none")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # nothing refers to groups, and their ids repeat in other figures
    body = re.sub(r"<[^>]*>", lambda tag: _LONG.sub(r"\1", tag.group()), body)  # not in text, which a reader sees
    for color, variable in _THEME.items():
        body = body.replace(color, f"var(--{variable})")
    head = re.match(r"<svg[^>]*>", body)
    view = re.search(r'viewBox="[^"]*"', head.group() if head else "")
    if head is None or view is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view.group()} '
        f'role="img" aria-label="{escape(alt)}">'
    )
    return Markup(opening + body[head.end() :])


def png(
    draw: Callable[[Figure], None], size: tuple[float, float], dpi: float = 150, layout: Layout = "constrained"
) -> bytes:
    """A figure as PNG on white."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout=layout, facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def file(draw: Callable[[Figure], None], size: tuple[float, float], form: str) -> bytes:
    """A figure on white as the content of a file: `svg`, `pdf` or `png`."""
    if form == "png":
        return png(draw, size)
    with mpl.rc_context({**STYLE, "svg.hashsalt": form, "pdf.fonttype": 42}):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        about = {"Date": None, "Creator": None} if form == "svg" else {"CreationDate": None, "Creator": None}
        figure.savefig(buffer, format=form, metadata=about)
    return buffer.getvalue()
