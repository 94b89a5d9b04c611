"""The panels of drawings show what the drawings hold."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trilemma.reports.chosen import allowance, first
from trilemma.reports.drawn import DrawnField, DrawnFrames, DrawnHistogram, DrawnImages, DrawnMap
from trilemma.reports.drawn_panels import PLATES, Shown, draw_field, draw_frames, draw_map, histograms, image_sheet
from trilemma.reports.figures import Ink
from trilemma.reports.panels import Panel, Plate

INK = Ink("#0072b2", "s0", "o")


def axes_of(panel: Panel) -> Axes:
    """The axes on which a panel is drawn."""
    axes = Figure().add_subplot()
    panel.draw(axes)
    return axes


def histogram(shares: list[float], true: list[float], edges: list[float], bars: bool = False) -> DrawnHistogram:
    series = [{"title": "samples", "shares": shares}, {"title": "true", "shares": true}]
    return DrawnHistogram.model_validate({"edges": edges, "series": series, "bars": bars})


def test_histograms_are_densities_on_common_axes() -> None:
    narrow = histogram([1.0, 0.0], [0.5, 0.5], [0, 1, 2])
    wide = histogram([0.5, 0.5], [0.5, 0.5], [0, 2, 4])
    plate = histograms([Shown("a", "", INK, narrow), Shown("b", "", INK, wide)], "Radii")
    left, right = (axes_of(panel) for panel in plate.panels)
    assert left.get_xlim() == right.get_xlim() == (0, 4)
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] == pytest.approx(1.05 * 1.5 * 0.5)
    filled: Any = left.patches[0]
    assert filled.get_data().values.tolist() == [1.0, 0.0]
    assert right.patches[0].get_data().values.tolist() == [0.25, 0.25]  # type: ignore[attr-defined]
    assert plate.notes[0] == "Filled: samples; line: true. Bars that leave the picture are higher than it."


def test_models_that_differ_too_much_have_axes_of_their_own() -> None:
    far = histogram([0.5, 0.5], [0.5, 0.5], [0, 1_000, 2_000])
    near = histogram([0.5, 0.5], [0.5, 0.5], [0, 1, 2])
    plate = histograms([Shown("a", "", INK, near), Shown("b", "", INK, far)], "NLL")
    assert [axes_of(panel).get_xlim() for panel in plate.panels] == [(0, 2), (0, 2_000)]
    assert "different axes" in plate.notes[0]


def test_bars_stand_at_their_bins_beside_what_is_true() -> None:
    plate = histograms([Shown("a", "", INK, histogram([0.4, 0.6], [0.5, 0.5], [-0.5, 0.5, 1.5], bars=True))], "Modes")
    axes = axes_of(plate.panels[0])
    bars: Any = axes.patches
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in bars] == [(0, 0.4), (1, 0.6)]
    assert len(axes.collections) == 1
    assert "leave" not in plate.notes[0]


def test_a_map_is_drawn_with_the_lowest_row_below() -> None:
    found = DrawnMap(x=[0, 1, 2], y=[5, 6], values=[[1, 0.1, 0], [0.2, 0.3, 0.4]])
    axes = Figure().add_subplot()
    draw_map(axes, found)
    (image,) = axes.images
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == (0, 2, 5, 6)
    assert np.asarray(image.get_array())[0].tolist() == [1, 0.1, 0.001]


def test_arrows_point_where_the_field_says_and_the_learned_ones_are_on_top() -> None:
    grids = [{"title": name, "u": [[u, u]] * 2, "v": [[0, 0]] * 2} for name, u in (("learned", 1.0), ("true", -1.0))]
    found = DrawnField.model_validate({"x": [0, 2], "y": [0, 1], "arrows": grids})
    axes = Figure().add_subplot()
    draw_field(axes, found, "#0072b2")
    true, learned = axes.collections
    assert np.asarray(learned.U).tolist() == [2.0] * 4  # type: ignore[attr-defined]
    assert np.asarray(true.U).tolist() == [-2.0] * 4  # type: ignore[attr-defined]
    assert learned.get_zorder() > true.get_zorder()


def test_frames_stand_side_by_side_and_points_outside_are_not_drawn() -> None:
    rng = np.random.default_rng(0)
    end = rng.uniform(-1, 1, (200, 2))
    found = DrawnFrames(steps=[0, 4], points=[[*map(tuple, 100 * end)], [*map(tuple, end)]])  # type: ignore[arg-type]
    axes = Figure().add_subplot()
    draw_frames(axes, found, "#0072b2")
    start, last = (np.asarray(cloud.get_offsets()) for cloud in axes.collections)
    assert len(start) < 10
    assert len(last) == 200
    assert 1 < last[:, 0].min() < last[:, 0].max() < 2
    np.testing.assert_allclose(np.diff(last[:, 1]) / np.diff(end[:, 1]), np.diff(last[:, 1])[0] / np.diff(end[:, 1])[0])


def test_images_are_in_their_rows_and_columns() -> None:
    pixels = base64.urlsafe_b64encode(np.repeat(np.arange(6, dtype=np.uint8) * 51, 6).tobytes()).decode()
    found = DrawnImages(rows=["a", "b"], columns=["c", "d", "e"], shape=(2, 3, 1), pixels=pixels)
    sheet = image_sheet(found)
    assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1, 3)
    np.testing.assert_allclose(sheet[1::3, 1::4, 0], [[0, 0.2, 0.4], [0.6, 0.8, 1]])
    plate = PLATES["images"][1]([Shown("m", "heun(steps=2)", INK, found)], "Copies")
    assert plate.panels[0].pixels.startswith(b"\x89PNG")
    assert plate.notes == ["Rows: a, b."]
    assert "rows a, b; columns c, d, e; of m at heun(steps=2)." in plate.panels[0].alt


def test_a_plate_is_a_page_of_panels_and_a_sheet() -> None:
    labels = ["a model of a name that takes more than one line in a small picture", "<b>"]
    panels = [Panel(label, f"alt of {label}", lambda axes: None, raster=label == "<b>") for label in labels]
    plate = Plate("Title", "What to see.", panels, (1.0, 1.0), notes=["", "note"], colors=True)
    record = plate.record()
    assert record["notes"] == ["note"]
    assert "Color scale" in record["scale"]
    first_panel, second = record["panels"]
    assert first_panel["svg"].startswith("<svg")
    assert second["uri"].startswith("data:image/png")
    assert plate.sheet().startswith(b"\x89PNG")


def test_what_pictures_may_take_is_shared() -> None:
    assert allowance(60, 2, 24) == 24
    assert allowance(60, 10, 24) == 6
    assert allowance(60, 100, 24) == 1
    assert allowance(60, 100, 24, least=6) == 6
    assert first([1, 2, 3], 3, ["a", "b", "c"]) == ([1, 2, 3], "")
    assert first([1, 2, 3], 1, ["a", "b", "c"]) == ([1], "Left out, to keep the page small: b, c.")
    names = [f"m{i}" for i in range(12)]
    assert first(names, 2, names)[1].endswith("m9 and 2 more.")
