"""The section of the drawings that metrics give in the details of their results."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import trilemma
from trilemma.reports.drawn import (
    DrawnCurve,
    DrawnField,
    DrawnFrames,
    DrawnHistogram,
    DrawnImages,
    DrawnMap,
    drawn,
)
from trilemma.reports.drawn_curves import Line, curves_figure
from trilemma.reports.drawn_panels import level
from trilemma.reports.figures import Ink
from trilemma.reports.sections.details import MOST_OF_ONE, Details
from trilemma.reports.write import write_report

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
EVIL = "<script>alert(1)</script>"
CURVE: dict[str, Any] = {"x": [0, 1, 10, 100], "y": [3.0, 2.0, 0.5, 0.1], "x_title": "steps", "y_title": "distance",
                         "floor": 0.05, "reading": f"It falls {EVIL}."}  # fmt: skip
MAP: dict[str, Any] = {"x": [0, 1, 2], "y": [0, 1], "values": [[0.1, 0.2, 3.0], [0.01, 0.0, 1.0]],
                       "log_density": [[-1, 0, -1], [-9, -9, -9]], "title": "relative error",
                       "reading": "Dark is right."}  # fmt: skip
FIELD: dict[str, Any] = {"x": [0, 1, 2], "y": [0, 1], "title": "score", "reading": "Arrows agree.",
                         "arrows": [{"title": "learned", "u": [[0, 1, 0]] * 2, "v": [[1, 0, 1]] * 2}]}  # fmt: skip
HISTOGRAM: dict[str, Any] = {"edges": [0, 1, 2], "x_title": "radius", "title": "Radii", "reading": "Left is narrow.",
                             "series": [{"title": "samples", "shares": [0.9, 0.1]},
                                        {"title": "true points", "shares": [0.5, 0.5]}]}  # fmt: skip
FRAMES: dict[str, Any] = {"steps": [0, 3, 9], "points": [[[3, 3], [4, 4]], [[1, 1], [2, 2]], [[0, 0], [1, 1]]],
                          "title": "Along the sampler", "reading": "From left to right."}  # fmt: skip
IMAGES: dict[str, Any] = {"rows": ["samples", "nearest"], "columns": ["a", "b", "c"], "shape": [2, 2, 1],
                          "pixels": base64.urlsafe_b64encode(bytes(range(24))).decode(), "title": "Copies",
                          "reading": "Look for copies."}  # fmt: skip
ALL = {"curve": CURVE, "map": MAP, "field": FIELD, "histogram": HISTOGRAM, "frames": FRAMES, "images": IMAGES}
KINDS = {"curve": DrawnCurve, "map": DrawnMap, "field": DrawnField, "histogram": DrawnHistogram,
         "frames": DrawnFrames, "images": DrawnImages}  # fmt: skip


def view_with(make_frame: Frames, make_view: Views, path: Path, **details: Any) -> trilemma.RunView:
    """The W2 of one seed of the synthetic run, in which the results of two models on ring8 hold these details."""
    frame = make_frame(seeds=(0,))
    frame = frame[frame["metric"] == "w2"].reset_index(drop=True)
    chosen = (frame["dataset_id"] == "ring8") & frame["label"].isin(["spline", "ddpm"])
    frame.loc[chosen, "details"] = json.dumps(details)
    return make_view(path, frame)


def test_every_kind_is_drawn_with_its_caption_in_both_formats(
    make_frame: Frames, make_view: Views, tmp_path: Path, parse: Any
) -> None:
    section = Details().render(view_with(make_frame, make_view, tmp_path, **ALL))
    assert section is not None
    assert list(section.figures) == [f"details-{i}.png" for i in range(1, 7)]
    assert all(png.startswith(b"\x89PNG") for png in section.figures.values())
    assert all(f"figures/{name}" in section.markdown for name in section.figures)
    assert EVIL not in section.html + section.markdown
    assert "$" not in section.html + section.markdown
    for drawing in ALL.values():
        caption = drawing["reading"].replace(EVIL, "").split(".")[0].strip()
        assert caption in section.html
        assert caption in section.markdown
    for text in ("ring8", "relative error", "Filled: samples; line: true points.", "after 0, 3, 9 steps"):
        assert text in section.html
    pictures = [attrs for tag, attrs in parse(section.html).tags if tag == "img"]
    drawings = [attrs for tag, attrs in parse(section.html).tags if tag == "svg" and "aria-hidden" not in attrs]
    assert len(pictures) == 2 * 3, "fields, frames and images of two models"
    assert len(drawings) == 1 + 2 * 2 + 1, "the curves, maps and histograms of two models, and a color scale"
    said = [attrs.get("alt") or attrs.get("aria-label") or "" for attrs in (*pictures, *drawings)]
    assert all(len(text) > 10 for text in said)
    assert sum("of spline at direct" in text for text in said) == 5


def test_each_model_is_shown_at_its_best_sampler_setting_and_the_best_model_first(
    make_frame: Frames, make_view: Views, tmp_path: Path
) -> None:
    section = Details().render(view_with(make_frame, make_view, tmp_path, histogram=HISTOGRAM, curve=CURVE))
    assert section is not None
    panels = section.html[section.html.index("Radii") :]
    assert re.findall(r"<b>(\w+)</b>([\w()=]+)", panels) == [("spline", "direct"), ("ddpm", "ddim(steps=250)")]
    assert "ddpm · ddim(steps=50)" in section.html, "curves are shown of all settings"


def test_what_is_too_much_is_left_out_by_name(make_frame: Frames, make_view: Views, tmp_path: Path) -> None:
    frame = make_frame(seeds=(0,))
    rows = frame[(frame["metric"] == "w2") & (frame["dataset_id"] == "ring8") & (frame["label"] == "spline")]
    many = [
        rows.assign(label=f"model {i:02}", cell=f"c{i}", evaluation=f"e{i}", value=i, details=json.dumps({"map": MAP}))
        for i in range(MOST_OF_ONE + 3)
    ]
    section = Details().render(make_view(tmp_path, pd.concat(many, ignore_index=True)))
    assert section is not None
    assert re.findall(r"<b>(.*?)</b>", section.html) == [f"model {i:02}" for i in range(MOST_OF_ONE)]
    for text in (section.html, section.markdown):
        assert "Left out, to keep the page small: model 12, model 13, model 14." in text


def test_a_report_with_them_is_whole(make_frame: Frames, make_view: Views, tmp_path: Path, parse: Any) -> None:
    view = view_with(make_frame, make_view, tmp_path, **ALL)
    write_report(view, [Details], tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = parse(text)
    assert page.open == []
    assert "could not be rendered" not in text
    assert "Pictures of the metrics" in text
    loads = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loads)
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    assert "histogram" not in (tmp_path / "results.csv").read_text()


def test_details_without_drawings_keep_everything_else() -> None:
    frame = pd.DataFrame({"details": [json.dumps({"draws": 3, **ALL}), '{"draws": 4}', 'no JSON, but a "map"', None]})
    found = trilemma.without_drawings(frame)["details"]
    assert [json.loads(text) for text in found[:2]] == [{"draws": 3}, {"draws": 4}]
    assert found[2] == frame["details"][2]
    assert pd.isna(found[3])


def test_a_curve_starts_at_its_axis() -> None:
    figure = Figure()
    curves_figure([Line("a", Ink("#000000", "s0", "o"), 0, DrawnCurve.model_validate(CURVE))])(figure)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 100)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("curve", {"y": [1.0]}),
        ("curve", {"x": ["a", 1, 2, 3]}),
        ("curve", {"y": [float("nan")] * 4}),
        ("map", {"values": [[1.0]]}),
        ("map", {"log_density": [[0.0], [0.0]]}),
        ("map", {"title": "a" * 10_000}),
        ("field", {"arrows": []}),
        ("field", {"arrows": [{"u": [[0, 0, 0]] * 2, "v": [[0, 0]] * 2}]}),
        ("histogram", {"edges": [0, 2, 1]}),
        ("histogram", {"series": [{"shares": [0.5]}]}),
        ("histogram", {"series": [{"shares": [-0.5, 1.5]}]}),
        ("frames", {"steps": [0, 1]}),
        ("frames", {"points": [[[0, 0]], [[0, 0]], [[0, 0], [1, 1]]]}),
        ("frames", {"points": [[[0, 0, 0]]] * 3}),
        ("images", {"pixels": "????"}),
        ("images", {"pixels": IMAGES["pixels"][:-4]}),
        ("images", {"shape": [100_000, 100_000, 3]}),
        ("images", {"shape": [2, 1, 2]}),
    ],
)
def test_what_has_another_form_is_left_out(key: str, changes: Any) -> None:
    assert drawn(KINDS[key], key, json.dumps({key: ALL[key]})) is not None
    assert drawn(KINDS[key], key, json.dumps({key: {**ALL[key], **changes}})) is None


def test_a_run_whose_drawings_have_another_form_has_no_section(
    make_frame: Frames, make_view: Views, tmp_path: Path
) -> None:
    wrong = {"map": {**MAP, "values": [[1.0]]}, "curve": 7}
    assert Details().render(view_with(make_frame, make_view, tmp_path, **wrong)) is None


@pytest.mark.parametrize("key", KINDS)
def test_what_is_no_drawing_is_left_out(key: str) -> None:
    for details in ("no JSON", f'{{"{key}": 7}}', f'["{key}"]', f'{{"{key}": null}}', f'"{key}"'):
        assert drawn(KINDS[key], key, details) is None


def test_lines_of_a_map_hold_their_shares_of_the_mass() -> None:
    axis = np.linspace(-5, 5, 201)
    density = np.exp(-(axis[:, None] ** 2 + axis**2) / 2)
    for mass in (0.5, 0.99):  # a share m of the standard normal in the plane is above (1 - m) of its peak
        assert level(density, mass) == pytest.approx(1 - mass, rel=0.03)
