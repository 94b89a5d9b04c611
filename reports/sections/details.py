"""The section of curves and maps that metrics give with their numbers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pandas as pd

import trilemma

from .. import figures, html, markdown
from ..drawn import DrawnCurve, DrawnMap, Line, curves_figure, drawn, maps_figure, rows_with
from ..figures import Ink
from ..kit import Digest, digest
from ..pictures import NEUTRAL
from ..plots import DASHES, key

READING = (
    "Some metrics give a curve or a map besides their number, which is in the tables. Here are those of the first seed."
)
CURVES, WIDE = (4.8, 3.4), (6.6, 4.8)
TILE, COLUMNS = 2.1, 4


class Details(trilemma.ReportSection):
    """The section of curves and maps: a figure for each dataset and each metric that gives one."""

    name: ClassVar[str] = "details"
    order: ClassVar[int] = 45

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the figures. Returns None if no result holds a curve or a map."""
        run = digest(view)
        blocks: list[dict[str, Any]] = []
        parts, files = [READING], {}
        for dataset in run.datasets:
            rows = run.rows[run.rows["dataset_id"] == dataset]
            for found in (*_curves(run, rows), *_maps(run, rows)):
                name = f"details-{len(blocks) + 1}.png"
                files[name] = found.pop("png")
                blocks.append({**found, "title": f"{run.title(dataset)}: {found['title']}"})
                parts.append(f"### {markdown.escape(blocks[-1]['title'])}")
                parts.append(f"![{markdown.escape(found['alt'])}](figures/{name})")
                parts += [markdown.escape(found["note"])] if found["note"] else []
        if not blocks:
            return None
        return trilemma.Section(
            title="Curves and maps of metrics",
            html=html.render("curves.html.j2", blocks=blocks, reading=READING),
            markdown="\n\n".join(parts),
            figures=files,
        )


def _curves(run: Digest, rows: pd.DataFrame) -> list[dict[str, Any]]:
    blocks = []
    for _, own in rows_with(rows, "curve").groupby("metric", sort=False):
        lines: list[Line] = []
        dashes: dict[str, int] = {}
        row: Any
        for row in own.itertuples():
            curve = drawn(DrawnCurve, "curve", row.details)
            if curve is not None:
                dash = dashes[row.label] = dashes.get(row.label, -1) + 1
                lines.append(Line(_label(run, row), _ink(run, row.label), dash % len(DASHES), curve))
        if not lines:
            continue
        first, title = lines[0].curve, str(own["title"].iloc[0])
        alt = f"{first.y_title} against {first.x_title}, one curve for each of {', '.join(x.label for x in lines)}."
        blocks.append(
            {
                "title": title,
                "legend": [(key(line), line.label) for line in lines],
                "plots": [figures.svg(curves_figure(lines), CURVES, alt)],
                "note": first.reading,
                "alt": alt,
                "png": figures.png(curves_figure(lines, legend=True), WIDE),
            }
        )
    return blocks


def _maps(run: Digest, rows: pd.DataFrame) -> list[dict[str, Any]]:
    blocks = []
    for _, own in rows_with(rows, "map").groupby("metric", sort=False):
        found = [(_label(run, row), drawn(DrawnMap, "map", row.details)) for row in own.itertuples()]
        maps = [(label, each) for label, each in found if each is not None]
        if not maps:
            continue
        columns = min(COLUMNS, len(maps))
        size = (TILE * columns + 0.9, (TILE + 0.4) * math.ceil(len(maps) / columns))
        alt = f"{maps[0][1].title}, one map for each of {', '.join(label for label, _ in maps)}."
        draw = maps_figure(maps, columns)
        blocks.append(
            {
                "title": maps[0][1].title or str(own["title"].iloc[0]),
                "legend": [],
                "plots": [figures.svg(draw, size, alt)],
                "note": maps[0][1].reading,
                "alt": alt,
                "png": figures.png(draw, size),
            }
        )
    return blocks


def _label(run: Digest, row: Any) -> str:
    return f"{run.run_label(row)} · {row.sampler}" if row.sampler else run.run_label(row)


def _ink(run: Digest, label: str) -> Ink:
    return run.inks.get(label) or Ink(NEUTRAL, "muted", "o")
