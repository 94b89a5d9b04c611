"""The section of the columns of tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

import trilemma
from trilemma.reports.sections.columns import MOST_OF_ONE, Columns, draw_column, ks_distance

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
DIM = MOST_OF_ONE + 3


@pytest.fixture
def table(make_frame: Frames, make_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trilemma.RunView:
    """A run on a table, in which the column `i` of samples is shifted by `i` tenths."""
    frame = make_frame(seeds=(0,))
    view = make_view(tmp_path, frame[(frame["dataset_id"] == "ring8") & (frame["metric"] == "w2")])
    rng = np.random.default_rng(0)
    monkeypatch.setitem(view.cards, "ring8", {**view.cards["ring8"], "shape": [DIM]})
    monkeypatch.setattr(type(view), "data", lambda self, dataset: rng.standard_normal((500, DIM)))
    shift = np.arange(DIM) / 10
    monkeypatch.setattr(type(view), "samples", lambda self, evaluation: shift + rng.standard_normal((400, DIM)))
    return view


def test_the_worst_columns_come_first_and_the_rest_is_counted(table: trilemma.RunView) -> None:
    section = Columns().render(table)
    assert section is not None
    order = [int(part.split("<")[0]) for part in section.html.split("<b>column ")[1:]]
    assert len(order) == MOST_OF_ONE
    assert order[0] >= DIM - 2
    assert 1 not in order
    for text in (section.html, section.markdown):
        assert f"{MOST_OF_ONE} of {DIM} columns are shown" in text
        assert "The best 4 of 7 models are shown." in text
        assert "Solid: " in text
    assert list(section.figures) == ["columns-1.png"]
    assert "Largest difference of shares: " in section.html


def test_points_in_the_plane_and_images_have_no_columns(make_frame: Frames, make_view: Views, tmp_path: Path) -> None:
    frame = make_frame(seeds=(0,))
    assert Columns().render(make_view(tmp_path, frame[frame["metric"] == "w2"])) is None


def test_samples_of_another_shape_are_not_shown(table: trilemma.RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(table), "samples", lambda self, evaluation: np.zeros((10, 3)))
    assert Columns().render(table) is None


def test_the_histograms_of_a_column_hold_all_values() -> None:
    rng = np.random.default_rng(0)
    axes = Figure().add_subplot()
    real = rng.standard_normal(1_000)
    draw_column(axes, real, [(10 + real[:500], "#0072b2"), (real, "#d55e00")])
    shown: Any = axes.patches
    data, far, same = (patch.get_data().values for patch in shown)
    assert data.sum() == pytest.approx(1)
    assert far[-1] == pytest.approx(1)
    np.testing.assert_allclose(same, data)


def test_the_distance_of_two_columns_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for real, generated in (
        (rng.normal(size=50), rng.normal(0.3, 2, 70)),
        (np.round(rng.normal(size=40)), np.zeros(9)),
    ):
        expected = stats.ks_2samp(real, generated, method="asymp").statistic
        assert ks_distance(real, generated) == pytest.approx(expected, abs=1e-12)
