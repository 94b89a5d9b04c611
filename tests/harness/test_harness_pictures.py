"""The pictures in the report of a finished run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

import trilemma


def test_the_report_of_a_run_has_its_pictures(finished: Path, tmp_path: Path, command: Callable[..., Result]) -> None:
    written = json.loads(command("report", finished, "--out", tmp_path / "out", "--json").output)["written"]
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "could not be rendered" not in text
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings.index("Samples") < headings.index("Comparison") < headings.index("Training")
    for title in ("NLL of single points", "Density of the model"):
        assert f"<h4>{title}</h4>" in text
        assert f"**{title}.**" in markdown
    for label in ("gaussian", "realnvp(transforms=2)", "realnvp(transforms=3)"):
        assert f"NLL of single points of {label}." in text
    assert "Training curves of realnvp(transforms=2) on ring8" in text
    figures = re.findall(r"(?m)^!\[.+\]\((figures/[\w-]+\.png)\)$", markdown)
    assert {str(tmp_path / "out" / figure) for figure in figures} <= set(written)
    assert "histogram" not in (tmp_path / "out" / "results.csv").read_text(encoding="utf-8")


def test_the_curves_of_a_training_are_in_its_record(finished: Path) -> None:
    view = trilemma.RunView.open(finished)
    cells = view.frame.loc[view.frame["model"] == "realnvp", "cell"].unique()
    for cell in cells:
        curves = view.curves(cell)
        assert curves["step"] == [1, 2, 3, 4, 5]
        assert len(curves["loss"]) == 5
        assert len(curves["validation"]) == len(curves["validation_step"]) > 1
