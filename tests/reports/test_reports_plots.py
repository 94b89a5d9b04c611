"""Figures of quality against cost that hold many models."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from trilemma.reports import figures
from trilemma.reports.figures import Ink
from trilemma.reports.plots import Curve, Scale, quality_against_cost

ONE = np.ones(1)
NAMES = [f"edm(preconditioning=edm, loss_weight=edm, training_noise=edm, lr={i})" for i in range(20)]
CURVES = [Curve(name, Ink("#000000", "ink", "o"), 0, ONE, i * ONE, ONE, ONE) for i, name in enumerate(NAMES)]


@pytest.mark.parametrize(("rows", "height"), [(None, 4.2 + 16 * 0.17), (4, 4.2)])
def test_a_long_legend_takes_no_room_from_the_axes(rows: int | None, height: float) -> None:
    draw = quality_against_cost(CURVES, Scale(None, {}), "NFE", "Witness energy", legend=True, rows=rows)
    shown: list[Figure] = []

    def kept(figure: Figure) -> None:
        draw(figure)
        shown.append(figure)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of axes without a height
        content = figures.png(kept, (8.0, 4.2))
    (figure,) = shown
    assert figure.axes[0].get_position().height * figure.get_figheight() > 2.5
    assert Image.open(io.BytesIO(content)).size == (1200, round(150 * height))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    if rows is None:
        assert texts == NAMES
    else:
        assert len(texts) % rows == 0
        assert texts[-1] == f"and {len(NAMES) - len(texts) + 1} more"


def test_a_name_that_begins_with_an_underscore_is_shown() -> None:
    curve = Curve("_mine", Ink("#000000", "ink", "o"), 0, ONE, ONE, ONE, ONE)
    figure = Figure()
    quality_against_cost([curve], Scale(None, {}), "NFE", "Witness energy", legend=True)(figure)
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_mine"]
