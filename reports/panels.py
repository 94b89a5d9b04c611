"""Pictures of several panels, one for each model: SVG or PNG in the page, and one sheet as PNG for Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import trilemma

from . import figures, html, markdown, pictures
from .figures import INK, MUTED

LOW, HIGH = 0.01, 1.0
"""The range of the color scale of maps, which is logarithmic."""
COLORS = "cividis"
"""The color map of maps, which rises evenly in brightness and can be read in gray."""
HEAD = 0.3
"""Inches above each panel of a sheet, for its label."""


@dataclass(frozen=True)
class Panel:
    """One picture of a plate: how it is drawn, its label, and what its alternative text says.

    With `raster` the page holds a PNG, for drawings of many points. `pixels` is a PNG that is shown without smoothing,
    in place of the drawing.
    """

    label: str
    alt: str
    draw: Callable[[Axes], None]
    caption: str = ""
    raster: bool = False
    pixels: bytes = b""


@dataclass(frozen=True)
class Plate:
    """Panels with a common caption. `size` is that of a panel in inches, and `margins` is what axis labels need of it.

    `colors` says that the panels are maps with the common color scale. `wide` panels take the width of the page.
    """

    title: str
    reading: str
    panels: Sequence[Panel]
    size: tuple[float, float]
    margins: tuple[float, float] = (0.0, 0.0)
    columns: int = 4
    notes: Sequence[str] = field(default_factory=tuple)
    colors: bool = False
    wide: bool = False

    @property
    def alt(self) -> str:
        """The alternative text of the whole sheet."""
        return f"{self.title}, one picture for each of {', '.join(panel.label for panel in self.panels)}."

    def record(self) -> dict[str, Any]:
        """The plate as its template shows it."""
        return {
            "title": self.title,
            "alt": self.alt,
            "plot": "",
            "reading": self.reading,
            "notes": [note for note in self.notes if note],
            "scale": color_scale() if self.colors else "",
            "wide": self.wide,
            "panels": [{"panel": panel, **self._picture(panel)} for panel in self.panels],
        }

    def _picture(self, panel: Panel) -> dict[str, Any]:
        if panel.pixels:
            return {"svg": "", "uri": pictures.data_uri(panel.pixels), "pixels": True}
        if panel.raster:
            return {"svg": "", "uri": pictures.data_uri(self._png(panel)), "pixels": False}

        def draw(figure: Figure) -> None:
            self._axes(figure, panel, (0.0, 0.0), self.size)

        return {"svg": figures.svg(draw, self.size, panel.alt, layout=None)}

    def _png(self, panel: Panel) -> bytes:
        with mpl.rc_context(figures.STYLE):
            figure = Figure(figsize=self.size, facecolor="none")
            panel.draw(figure.add_axes((0, 0, 1, 1)))
            return pictures.small_png(figure, 110)

    def _axes(self, figure: Figure, panel: Panel, corner: tuple[float, float], size: tuple[float, float]) -> None:
        """Draw a panel of a size at a corner of a figure, in inches from the lower left."""
        width, height = figure.get_size_inches()
        left, below = self.margins
        right = 0.14 if left else 0.0  # for half of a tick label
        box = (corner[0] + left, corner[1] + below, size[0] - left - right, size[1] - below - (0.05 if below else 0.0))
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        panel.draw(axes)

    def sheet(self) -> bytes:
        """All panels as one PNG, with their labels and the notes."""
        columns = min(self.columns, len(self.panels))
        lines = math.ceil(len(self.panels) / columns)
        gap = 0.15
        width = max(4.0, columns * (self.size[0] + gap) + gap)
        notes = [line for note in self.notes for line in textwrap.wrap(note, int(width * 17))]
        foot = 0.15 + 0.15 * len(notes) + (0.5 if self.colors else 0.0)
        cell = self.size[1] + HEAD
        height = lines * (cell + gap) + foot

        def draw(figure: Figure) -> None:
            for place, panel in enumerate(self.panels):
                left = gap + place % columns * (self.size[0] + gap)
                low = height - (place // columns + 1) * (cell + gap)
                self._axes(figure, panel, (left, low), self.size)
                top = (low + self.size[1] + 0.06) / height
                figure.text(left / width, top, _short(panel, self.size[0]), fontsize=7.5, color=INK)
            for line, note in enumerate(reversed(notes)):
                figure.text(gap / width, (0.1 + 0.15 * line) / height, note, fontsize=7, color=MUTED)
            if self.colors:
                bar = figure.add_axes((3 * gap / width, (foot - 0.2) / height, 2.4 / width, 0.12 / height))
                shown = figure.colorbar(ScalarMappable(LogNorm(LOW, HIGH), COLORS), cax=bar, orientation="horizontal")
                shown.outline.set_visible(False)
                bar.set_xticks([LOW, 0.1, HIGH], ["0.01 or less", "0.1", "1 or more"], fontsize=7)

        return figures.png(draw, (width, height), dpi=120, layout=None)


def _short(panel: Panel, width: float) -> str:
    """The label of a panel in at most two lines that fit a width in inches."""
    text = panel.label + (f" · {panel.caption}" if panel.caption else "")
    return "\n".join(textwrap.wrap(text, int(width * 16), max_lines=2, placeholder=" …"))


def color_scale() -> Markup:
    """The color scale of maps as a small SVG."""
    colors = mpl.colormaps[COLORS]
    steps = 24
    cells = "".join(
        f'<path d="M{10 * i} 0h10.5v10h-10.5z" fill="{mpl.colors.to_hex(colors((i + 0.5) / steps))}"/>'
        for i in range(steps)
    )
    marks = "".join(
        f'<text x="{x}" y="22" text-anchor="{anchor}" font-size="10" fill="var(--muted)">{text}</text>'
        for x, anchor, text in ((0, "start", "0.01 or less"), (120, "middle", "0.1"), (240, "end", "1 or more"))
    )
    return Markup(  # every part is a constant of this package, so nothing needs escaping
        '<svg class="scale" viewBox="0 0 240 26" role="img" '
        f'aria-label="Color scale, logarithmic: dark is 0.01 or less, light is 1 or more.">{cells}{marks}</svg>'
    )


def section_of_plates(title: str, reading: str, plates: Iterable[tuple[str, Plate | None]]) -> trilemma.Section | None:
    """A section with one plate for each dataset that has one, under the title of the dataset; None without any."""
    blocks, parts, files = [], [markdown.escape(reading)], {}
    for index, (dataset, plate) in enumerate(plates, start=1):
        if plate is None:
            continue
        file = f"{title.lower()}-{index}.png"
        files[file] = plate.sheet()
        blocks.append((dataset, [plate.record() | {"title": ""}]))
        parts += [f"### {markdown.escape(dataset)}", f"![{markdown.escape(plate.alt)}](figures/{file})"]
        parts += [markdown.escape(note) for note in plate.notes]
    if not blocks:
        return None
    return trilemma.Section(
        title=title,
        html=html.render("plates.html.j2", reading=reading, blocks=blocks, more=""),
        markdown="\n\n".join(parts),
        figures=files,
    )
