"""The section of training and validation curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import trilemma
from trilemma.reports.sections.training import Curve, Training, draw_training, limits, read_curves, thinned

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]

STORED: dict[str, Any] = {
    "step": [10, 20, 30, 40],
    "loss": [4.0, 2.0, 1.5, 1.4],
    "validation_step": [20, 40],
    "validation": [1.9, 2.2],
}


def test_each_model_has_a_panel_and_an_alternative_text(
    make_frame: Frames, make_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_frame(seeds=(0, 1))
    view = make_view(tmp_path, frame[frame["metric"].isin(["w2", "nfe"])])
    read: list[str] = []

    def curves(self: trilemma.RunView, cell: str) -> dict[str, Any]:
        read.append(cell)
        return {} if cell.startswith("ddgan") else STORED

    monkeypatch.setattr(type(view), "curves", curves, raising=False)
    section = Training().render(view)
    assert section is not None
    assert list(section.figures) == ["training-1.png", "training-2.png"]
    assert "Training curves of spline on ring8: loss ends at 1.40, validation ends at 2.20." in section.html
    assert "<b>ddgan</b>" not in section.html
    assert section.html.count("<svg") == 6 + 5, "one model has no curves, and one of the second dataset did not finish"
    assert "overfitting" in section.html
    assert "overfitting" in section.markdown
    assert "kde-ring8-0" not in read, "controls are not trained by steps"
    assert "spline-ring8-1" in read


def test_a_run_without_curves_has_no_section(
    make_frame: Frames, make_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_frame(seeds=(0,))
    view = make_view(tmp_path, frame[frame["metric"] == "w2"])
    monkeypatch.setattr(type(view), "curves", lambda self, cell: {}, raising=False)
    assert Training().render(view) is None


def test_only_what_has_steps_is_read() -> None:
    names = [(curve.name, curve.validation) for curve in read_curves(STORED)]
    assert names == [("loss", False), ("validation", True)]
    odd = {"step": [1, 2], "loss": [1.0], "critic": "text", "gap": [1.0, None], "own": [3.0, 4.0], "validation": [1, 2]}
    assert [curve.name for curve in read_curves(odd)] == ["own"]
    assert read_curves({"loss": [1.0, 2.0]}) == []


def test_a_long_curve_keeps_its_means_and_its_course() -> None:
    steps = np.arange(1.0, 1_001.0)
    x, y = thinned(steps, steps**2, most=50)
    assert len(x) == len(y) == 50
    assert y.mean() == pytest.approx((steps**2).mean())
    assert (np.diff(y) > 0).all()
    assert thinned(steps[:50], steps[:50])[0] is not None
    assert np.array_equal(thinned(steps[:50], steps[:50])[1], steps[:50])


def test_the_axis_leaves_out_the_start_and_is_logarithmic_for_large_ratios() -> None:
    steps = np.arange(100.0)
    flat = Curve("loss", steps, np.r_[[1e9] * 5, np.linspace(2, 1, 95)], False)
    low, high, log = limits([flat])
    assert not log
    assert low < 1
    assert 2 < high < 2.2
    steep = Curve("loss", steps, np.geomspace(100, 1, 100), False)
    assert limits([steep])[2]
    assert not limits([Curve("nll", steps, np.linspace(50, -1, 100), False)])[2]
    empty = Curve("loss", steps, np.full(100, np.nan), False)
    assert limits([empty]) == (0.0, 1.0, False)


def test_the_dot_is_at_the_lowest_validation_loss() -> None:
    axes = Figure().add_subplot()
    draw_training(axes, read_curves(STORED), "#0072b2")
    loss, validation, dot = axes.lines
    assert np.asarray(dot.get_xdata()).tolist() == [20]
    assert np.asarray(dot.get_ydata()).tolist() == [1.9]
    assert validation.get_linestyle() == "--"
    assert loss.get_linestyle() == "-"
    assert axes.get_xlim() == (0, 40)
