"""The section of curves and maps that metrics give in the details of their results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import trilemma
from trilemma.reports.drawn import DrawnCurve, DrawnMap, Line, _level, curves_figure, drawn
from trilemma.reports.figures import Ink
from trilemma.reports.sections.details import Details
from trilemma.reports.write import write_report

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
EVIL = "<script>alert(1)</script>"
CURVE: dict[str, Any] = {"x": [0, 1, 10, 100], "y": [3.0, 2.0, 0.5, 0.1], "x_title": "steps", "y_title": "distance",
                         "floor": 0.05, "reading": f"It falls {EVIL}."}  # fmt: skip
MAP: dict[str, Any] = {"x": [0, 1, 2], "y": [0, 1], "values": [[0.1, 0.2, 3.0], [0.01, 0.0, 1.0]],
                       "log_density": [[-1, 0, -1], [-9, -9, -9]], "title": "relative error",
                       "reading": "Dark is right."}  # fmt: skip


def view_with(make_frame: Frames, make_view: Views, path: Path, **details: Any) -> trilemma.RunView:
    """The synthetic run, in which the results of W2 on ring8 by two models hold these details."""
    frame = make_frame()
    chosen = (frame["metric"] == "w2") & (frame["dataset_id"] == "ring8") & frame["label"].isin(["spline", "ddpm"])
    frame.loc[chosen, "details"] = json.dumps(details)
    return make_view(path, frame)


def test_curves_and_maps_are_drawn_with_their_captions(make_frame: Frames, make_view: Views, tmp_path: Path) -> None:
    section = Details().render(view_with(make_frame, make_view, tmp_path, curve=CURVE, map=MAP))
    assert section is not None
    assert list(section.figures) == ["details-1.png", "details-2.png"]
    assert all(png.startswith(b"\x89PNG") for png in section.figures.values())
    figure = Figure()
    curves_figure([Line("a", Ink("#000000", "s0", "o"), 0, DrawnCurve.model_validate(CURVE))])(figure)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 100)
    assert all("$" not in section_text for section_text in (section.html, section.markdown))
    for text in ("ring8", "relative error", "Dark is right.", "spline · direct", "ddpm · ddim(steps=50)"):
        assert text in section.html
    assert section.html.count("<svg") >= 2
    assert EVIL not in section.html
    assert EVIL not in section.markdown
    assert "figures/details-2.png" in section.markdown


def test_a_report_with_them_is_whole(make_frame: Frames, make_view: Views, tmp_path: Path, parse: Any) -> None:
    view = view_with(make_frame, make_view, tmp_path, curve=CURVE, map=MAP)
    write_report(view, trilemma.report_sections(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = parse(text)
    assert page.open == []
    assert "could not be rendered" not in text
    assert "Curves and maps of metrics" in text
    loads = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loads)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("curve", {**CURVE, "y": [1.0]}),
        ("curve", {**CURVE, "x": ["a", 1, 2, 3]}),
        ("curve", {**CURVE, "y": [float("nan")] * 4}),
        ("curve", 7),
        ("map", {**MAP, "values": [[1.0]]}),
        ("map", {**MAP, "log_density": [[0.0], [0.0]]}),
        ("map", {**MAP, "title": "a" * 10_000}),
    ],
)
def test_what_has_another_form_is_left_out(
    key: str, value: Any, make_frame: Frames, make_view: Views, tmp_path: Path
) -> None:
    assert Details().render(view_with(make_frame, make_view, tmp_path, **{key: value})) is None
    assert drawn(DrawnCurve if key == "curve" else DrawnMap, key, "no JSON") is None


def test_lines_of_a_map_hold_their_shares_of_the_mass() -> None:
    axis = np.linspace(-5, 5, 201)
    density = np.exp(-(axis[:, None] ** 2 + axis**2) / 2)
    for mass in (0.5, 0.99):  # a share m of the standard normal in the plane is above (1 - m) of its peak
        assert _level(density, mass) == pytest.approx(1 - mass, rel=0.03)
