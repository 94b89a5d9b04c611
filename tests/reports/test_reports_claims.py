"""The section on published claims, and the figure of a claim."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.reports.sections.claim_figure import figure
from trilemma.reports.sections.claims import Claims

SVG = "{http://www.w3.org/2000/svg}"


def rows(label: str, value: float, budget: str = "300 steps") -> pd.DataFrame:
    """The evaluations of a flow for each sample, as the claim `maf-and-iaf-passes` needs them."""
    frame = pd.DataFrame({"value": [value] * 5, "seed": range(5), "label": label, "budget": budget})
    return frame.assign(dataset_id="mixture-d16", metric="nfe", sampler="direct", outcome="ok", better="lower")


def view(path: Path, *frames: pd.DataFrame) -> trilemma.RunView:
    return trilemma.RunView(path, pd.concat(frames, ignore_index=True), {}, {}, {})


def test_the_section_shows_the_claims_that_were_run(tmp_path: Path) -> None:
    run = view(tmp_path, rows("maf(transforms=4)", 16.0), rows("iaf", 1.0))
    section = Claims().render(run)
    assert section is not None
    assert "1 reproduced" in section.html
    assert "maf-and-iaf-passes" in section.html
    assert "Papamakarios et al. 2017, section 3.2 (checked in " in section.html
    assert section.html.count("<svg") == 1
    assert "the-trilemma" not in section.html
    assert "| maf-and-iaf-passes | reproduced |" in section.markdown


def test_other_runs_have_no_such_section(tmp_path: Path) -> None:
    assert Claims().render(view(tmp_path, rows("maf(transforms=4)", 16.0))) is None
    seconds = [rows("maf(transforms=4)", 16.0, "10 s"), rows("iaf", 1.0, "10 s")]
    assert Claims().render(view(tmp_path, *seconds)) is None


def arm(label: str, *values: float | None, metric: str = "gap") -> dict[str, Any]:
    return {"label": label, "metric": metric, "dataset": "ring8", "values": dict(enumerate(values))}


def drawn(*arms: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(figure({"claim": "A <b> & C", "comparisons": [{"arms": list(arms)}]}))


def test_the_figure_has_a_point_for_each_seed_and_escapes_labels() -> None:
    picture = drawn(arm("<script>", 1.0, 2.0, None), arm("b", 3.0, 4.0))
    points = picture.findall(f"{SVG}circle")
    assert len(points) == 4
    across = [float(point.attrib["cx"]) for point in points]
    assert across == sorted(across)
    assert across[1] - across[0] == pytest.approx(across[3] - across[2], abs=0.2), "the axis is linear"
    assert "<script>" in {text.text for text in picture.iter(f"{SVG}text")}


def test_values_that_differ_much_have_a_logarithmic_axis() -> None:
    picture = drawn(arm("a", 0.01, 0.1), arm("b", 1.0))
    low, middle, high = (float(point.attrib["cx"]) for point in picture.findall(f"{SVG}circle"))
    assert middle - low == pytest.approx(high - middle, abs=0.2)
    assert "logarithmic" in {text.text for text in picture.iter(f"{SVG}text")}


def test_equal_values_and_no_values_can_be_drawn() -> None:
    assert len(drawn(arm("a", 0.0, 0.0), arm("b", None)).findall(f"{SVG}circle")) == 2
    assert figure({"claim": "", "comparisons": []}) == ""
