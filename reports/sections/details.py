"""The section of the drawings that metrics give with their numbers: curves, maps, histograms, frames and images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

import trilemma

from .. import figures, html, markdown
from ..chosen import LINE, allowance, chosen, first
from ..drawn import DrawnCurve, drawn, rows_with
from ..drawn_curves import Line, curves_figure
from ..drawn_panels import PLATES, Shown
from ..figures import Ink
from ..kit import Digest, digest
from ..pictures import NEUTRAL
from ..plots import DASHES, key

READING = (
    "Pictures of what the numbers in the tables sum up, of the first seed. Each model is shown at its best sampler "
    "setting, and the models are ordered by quality, with the controls last."
)
CURVES, WIDE = (4.8, 3.4), (6.6, 4.8)
MOST_PANELS, LEAST_OF_ONE, MOST_OF_ONE, MOST_LINES = 60, 6, 12, 16
"""The most panels of the section, what one picture may have at least and at most, and the most lines of a figure."""


@dataclass(frozen=True)
class Found:
    """The rows of one dataset and metric that hold drawings under a key."""

    dataset: str
    key: str
    rows: pd.DataFrame


class Details(trilemma.ReportSection):
    """The section of drawings: a picture for each dataset and each metric that gives one."""

    name: ClassVar[str] = "details"
    order: ClassVar[int] = 45

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the pictures. Returns None if no result holds a drawing."""
        run = digest(view)
        found = list(_found(run))
        panelled = sum(one.key != "curve" for one in found)
        most = allowance(MOST_PANELS, panelled, MOST_OF_ONE, LEAST_OF_ONE)
        blocks: dict[str, list[dict[str, Any]]] = {}
        parts = [READING]
        files: dict[str, bytes] = {}
        left, skipped = MOST_PANELS, 0
        for one in found:
            if one.key != "curve" and not left:
                skipped += 1
                continue
            made = _curves(run, one.rows) if one.key == "curve" else _plate(run, one, min(most, left))
            if made is None:
                continue
            left -= len(made["panels"])
            name = f"details-{len(files) + 1}.png"
            files[name] = made.pop("png")
            if one.dataset not in blocks:
                parts.append(f"### {markdown.escape(run.title(one.dataset))}")
            blocks.setdefault(one.dataset, []).append(made)
            parts += [f"**{markdown.escape(made['title'])}.** {markdown.escape(made['reading'])}"]
            parts += [f"![{markdown.escape(made['alt'])}](figures/{name})"]
            parts += [markdown.escape(" ".join(made["notes"]))] if made["notes"] else []
        if not blocks:
            return None
        more = f"{skipped} more pictures are left out, to keep the page small." if skipped else ""
        return trilemma.Section(
            title="Pictures of the metrics",
            html=html.render(
                "plates.html.j2",
                reading=READING,
                blocks=[(run.title(dataset), plates) for dataset, plates in blocks.items()],
                more=more,
            ),
            markdown="\n\n".join([*parts, *([more] if more else [])]),
            figures=files,
        )


def _found(run: Digest) -> Iterator[Found]:
    for dataset in run.datasets:
        rows = run.rows[run.rows["dataset_id"] == dataset]
        for kind in ("curve", *PLATES):
            for _, own in rows_with(rows, kind).groupby("metric", sort=False):
                yield Found(dataset, kind, own)


def _plate(run: Digest, found: Found, most: int) -> dict[str, Any] | None:
    """The picture of one metric, with at most so many panels."""
    cls, make = PLATES[found.key]
    shown = []
    for row in _at_best(run, found):
        drawing = drawn(cls, found.key, row.details)
        if drawing is not None:
            shown.append(Shown(run.run_label(row), row.sampler, _ink(run, row.label), drawing))
    if not shown:
        return None
    kept, left_out = first(shown, most, [one.label for one in shown])
    title = kept[0].drawing.title or str(found.rows["title"].iloc[0])
    plate = make(kept, title)
    record = plate.record()
    record["notes"] += [left_out] if left_out else []
    return {**record, "png": plate.sheet()}


def _at_best(run: Digest, found: Found) -> list[Any]:
    """One row of each model, best first: at its best sampler setting, or at the first one that has the drawing."""
    order = {_line(one.row): (place, one.row.sampler) for place, one in enumerate(chosen(run, found.dataset))}
    rows: dict[tuple[Any, ...], Any] = {}
    row: Any
    for row in found.rows.itertuples():
        best = order.get(_line(row), (0, ""))[1]
        if _line(row) not in rows or row.sampler == best:
            rows[_line(row)] = row
    return sorted(rows.values(), key=lambda row: order.get(_line(row), (len(order), ""))[0])


def _line(row: Any) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in LINE)


def _curves(run: Digest, own: pd.DataFrame) -> dict[str, Any] | None:
    lines: list[Line] = []
    dashes: dict[str, int] = {}
    row: Any
    for row in own.itertuples():
        curve = drawn(DrawnCurve, "curve", row.details)
        if curve is not None:
            dash = dashes[row.label] = dashes.get(row.label, -1) + 1
            label = f"{run.run_label(row)} · {row.sampler}" if row.sampler else run.run_label(row)
            lines.append(Line(label, _ink(run, row.label), dash % len(DASHES), curve))
    if not lines:
        return None
    lines, left_out = first(lines, MOST_LINES, [line.label for line in lines])
    curve = lines[0].curve
    alt = f"{curve.y_title} against {curve.x_title}, one curve for each of {', '.join(line.label for line in lines)}."
    return {
        "title": curve.title or str(own["title"].iloc[0]),
        "reading": curve.reading,
        "legend": [(key(line), line.label) for line in lines],
        "plot": figures.svg(curves_figure(lines), CURVES, alt),
        "notes": [left_out] if left_out else [],
        "panels": [],
        "alt": alt,
        "png": figures.png(curves_figure(lines, legend=True), WIDE),
    }


def _ink(run: Digest, label: str) -> Ink:
    return run.inks.get(label) or Ink(NEUTRAL, "muted", "o")
