"""The section of pictures of samples, beside pictures of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import trilemma

from .. import figures, html, markdown, measures, numbers, pictures
from ..figures import GRID
from ..kit import Digest, digest
from ..pictures import NEUTRAL


@dataclass(frozen=True)
class Panel:
    """One picture: its points, heading, caption and color."""

    points: Any
    label: str
    caption: str
    color: str
    control: bool


class Samples(trilemma.ReportSection):
    """The samples section: for each dataset, the data, and samples of each model at its best sampler setting."""

    name: ClassVar[str] = "samples"
    order: ClassVar[int] = 30

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the pictures. Returns None if the run stored no samples."""
        run = digest(view)
        blocks, parts, files = [], [], {}
        for index, dataset in enumerate(run.datasets, start=1):
            panels = _panels(run, view, dataset)
            if not panels:
                continue
            data, card = view.data(dataset), view.cards.get(dataset, {})
            panels = [Panel(data, "data", "test points", NEUTRAL, False)] * (data is not None) + panels
            images = card.get("kind") == "image"
            reading, pngs = _images(panels, card) if images else _scatters(panels, card)
            pictured = [(panel, pictures.data_uri(png)) for panel, png in zip(panels, pngs, strict=True)]
            blocks.append({"title": run.title(dataset), "reading": reading, "panels": pictured, "images": images})
            file = f"samples-{index}.png"
            files[file] = _sheet(panels, images, card)
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


def _panels(run: Digest, view: trilemma.RunView, dataset: str) -> list[Panel]:
    rows = run.rows[
        (run.rows["dataset_id"] == dataset) & (run.rows["evaluation"] != "") & (run.rows["outcome"] == "ok")
    ]
    metric = measures.pictured(run.summary[run.summary["dataset_id"] == dataset])
    panels = []
    for (control, label, *_), own in rows.groupby(["control", "label", "budget", "device", "trained_on"], sort=False):
        if control and not own["pictured"].iloc[0]:
            continue
        best = _best_evaluation(own, metric)
        points = view.samples(best.evaluation)
        if points is None or not len(points):
            continue
        ink = run.inks.get(str(label))
        panels.append(
            Panel(points, run.run_label(best), _caption(best, metric), ink.color if ink else NEUTRAL, bool(control))
        )
    return sorted(panels, key=lambda panel: panel.control)


def _best_evaluation(own: pd.DataFrame, metric: str | None) -> Any:
    """The row of the first seed at the sampler setting with the best mean quality. The caption shows its value."""
    quality = own[(own["metric"] == metric) & own["value"].notna()]
    if quality.empty:
        own = own[own["group"] != "likelihood"] if (own["group"] != "likelihood").any() else own
        own = own[own["sampler"] != ""] if (own["sampler"] != "").any() else own
        return next(own.sort_values("seed").itertuples())
    means = quality.groupby("sampler", sort=False)["value"].mean()
    sampler = means.idxmax() if quality["better"].iloc[0] == "higher" else means.idxmin()
    return next(quality[quality["sampler"] == sampler].sort_values("seed").itertuples())


def _caption(row: Any, metric: str | None) -> str:
    parts = [row.sampler] if row.sampler else []
    if metric and row.metric == metric and math.isfinite(row.value):
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
        f"{what}Each picture has up to {pictures.POINTS:,} samples in color over data in gray. All pictures share "
        f"their axes: x from {x_low} to {x_high}, y from {y_low} to {y_high}.",
        pngs,
    )


def _ground(panels: list[Panel]) -> tuple[Any, pictures.Frame]:
    data = [pictures.plane(panel.points) for panel in panels if panel.label == "data"]
    reference = data[0] if data else np.concatenate([pictures.plane(panel.points) for panel in panels])
    return (data[0] if data else None), pictures.common_frame(reference)


def _images(panels: list[Panel], card: dict[str, Any]) -> tuple[str, list[bytes]]:
    sheets = [pictures.mosaic_png(pictures.mosaic(panel.points, card.get("levels"))) for panel in panels]
    return f"Each picture shows the first {pictures.TILES**2} samples, without selection.", sheets


def _sheet(panels: list[Panel], images: bool, card: dict[str, Any]) -> bytes:
    """All panels as one figure for Markdown."""
    width = min(4, len(panels))
    height = math.ceil(len(panels) / width)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(height, width, squeeze=False).ravel()
        ground = None if images else _ground(panels)
        for axes, panel in zip(grid, panels, strict=False):
            axes.set_title(panel.label, fontsize=9, loc="left")
            axes.set_xlabel(panel.caption.replace(" · ", "\n", 1), fontsize=7, loc="left")
            axes.spines[:].set(visible=True, color=GRID)
            axes.set(xticks=[], yticks=[])
            if ground is None:
                axes.imshow(pictures.mosaic(panel.points, card.get("levels")), interpolation="nearest")
            else:
                ghost = None if panel.label == "data" else ground[0]
                pictures.scatter(axes, pictures.plane(panel.points), ghost, ground[1], panel.color)
        for axes in grid[len(panels) :]:
            axes.axis("off")

    return figures.png(draw, (2.2 * width, 2.9 * height), dpi=130)
