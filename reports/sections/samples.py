"""The section of pictures of samples, beside pictures of the data."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import trilemma

from .. import figures, html, markdown, numbers, pictures
from ..chosen import Chosen, allowance, chosen, first
from ..figures import GRID
from ..kit import Digest, digest
from ..pictures import NEUTRAL

ORDER = "The best models come first, and controls last."
MOST, MOST_OF_ONE = 36, 18
"""The most pictures of the section, and of one dataset."""


@dataclass(frozen=True)
class Panel:
    """One picture: its points, heading, caption and color."""

    points: Any
    label: str
    caption: str
    color: str
    control: bool


class Samples(trilemma.ReportSection):
    """The samples section: for each dataset, the data, and samples of each model at its best sampler setting.

    The models are ordered by quality, with the controls last.
    """

    name: ClassVar[str] = "samples"
    order: ClassVar[int] = 15

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the pictures. Returns None if the run stored no samples."""
        run = digest(view)
        blocks, parts, files = [], [], {}
        most = allowance(MOST, len(run.datasets), MOST_OF_ONE)
        for index, dataset in enumerate(run.datasets, start=1):
            panels, left_out = _panels(run, view, dataset, most)
            if not panels:
                continue
            data, card = view.data(dataset), view.cards.get(dataset, {})
            panels = [Panel(data, "data", "test points", NEUTRAL, False)] * (data is not None) + panels
            images = card.get("kind") == "image"
            reading, pngs = _images(panels, card) if images else _scatters(panels, card)
            pictured = [(panel, pictures.data_uri(png)) for panel, png in zip(panels, pngs, strict=True)]
            reading += f" {left_out}" if left_out else ""
            blocks.append({"title": run.title(dataset), "reading": reading, "panels": pictured, "images": images})
            file = f"samples-{index}.png"
            files[file] = _sheet(panels, pngs)
            alt = f"Samples on {dataset}: {', '.join(panel.label for panel in panels)}"
            parts += [f"### {markdown.escape(run.title(dataset))}", markdown.escape(reading)]
            parts.append(f"![{markdown.escape(alt)}](figures/{file})")
        if not blocks:
            return None
        return trilemma.Section(
            title="Samples",
            html=html.render("samples.html.j2", blocks=blocks),
            markdown="\n\n".join(parts),
            figures=files,
        )


def _panels(run: Digest, view: trilemma.RunView, dataset: str, most: int) -> tuple[list[Panel], str]:
    """At most so many pictures of samples, and a sentence about those that are left out."""
    shown = [one for one in chosen(run, dataset) if not one.control or one.row.pictured]
    shown, left_out = first(shown, most, [one.label for one in shown])
    panels = []
    for one in shown:
        points = view.samples(one.row.evaluation)
        if points is not None and len(points):
            panels.append(Panel(points, one.label, _caption(one), one.ink.color, one.control))
    return panels, left_out


def _caption(one: Chosen) -> str:
    row = one.row
    parts = [row.sampler] if row.sampler else []
    if one.measured:
        half = (row.ci_high - row.ci_low) / 2
        parts.append(f"{row.title} {numbers.with_interval(row.value, half)[0]}")
    return (
        " · ".join([*parts, f"seed {row.seed}"])
        .replace("W₂ ", "W₂\N{NO-BREAK SPACE}")
        .replace("seed ", "seed\N{NO-BREAK SPACE}")
    )


def _scatters(panels: list[Panel], card: dict[str, Any]) -> tuple[str, list[bytes]]:
    ghost, frame = _ground(panels)
    pngs = [
        pictures.scatter_png(pictures.plane(panel.points), None if panel.label == "data" else ghost, frame, panel.color)
        for panel in panels
    ]
    x_low, x_high, y_low, y_high = (numbers.plain(edge, 2) for edge in frame.box)
    size = math.prod(int(n) for n in card.get("shape") or (2,))
    what = f"The pictures show the first two of {size} coordinates. " if size > 2 else ""
    return (
        f"{what}Each picture has up to {pictures.POINTS:,} samples in color over data in gray, without selection. Look "
        f"for gray without color (lost modes), and for color outside the gray (samples that are no data). {ORDER} All "
        f"pictures share their axes: x from {x_low} to {x_high}, y from {y_low} to {y_high}.",
        pngs,
    )


def _ground(panels: list[Panel]) -> tuple[Any, pictures.Frame]:
    data = [pictures.plane(panel.points) for panel in panels if panel.label == "data"]
    reference = data[0] if data else np.concatenate([pictures.plane(panel.points) for panel in panels])
    return (data[0] if data else None), pictures.common_frame(reference)


def _images(panels: list[Panel], card: dict[str, Any]) -> tuple[str, list[bytes]]:
    sheets = [pictures.mosaic_png(pictures.mosaic(panel.points, card.get("levels"))) for panel in panels]
    return (
        f"Each picture shows the first {pictures.TILES**2} samples, without selection. Compare sharpness and variety "
        f"with the data: blur, broken shapes and repeated images are errors. {ORDER}",
        sheets,
    )


def _sheet(panels: list[Panel], pngs: list[bytes]) -> bytes:
    """The pictures of all panels as one figure for Markdown."""
    width = min(4, len(panels))
    height = math.ceil(len(panels) / width)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, squeeze=False).ravel()
        for axes, panel, png in zip(grid, panels, pngs, strict=False):
            axes.set_title(panel.label, fontsize=9, loc="left")
            axes.set_xlabel(panel.caption.replace(" · ", "\n", 1), fontsize=7, loc="left")
            axes.spines[:].set(visible=True, color=GRID)
            axes.set(xticks=[], yticks=[])
            axes.imshow(Image.open(io.BytesIO(png)), interpolation="nearest")
        for axes in grid[len(panels) :]:
            axes.axis("off")

    return figures.png(draw, (2.2 * width, 2.9 * height), dpi=130)
