"""The comparison of a report: its columns, marks, flags and cautions."""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import trilemma
from trilemma.reports import numbers

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
Quick = Callable[..., tuple[str, str]]
Tables = Callable[[str], list[list[list[str]]]]


def test_comparison_shows_means_marks_and_separate_kinds(written: Path, make_frame: Frames, tables: Tables) -> None:
    found = tables((written / "report.md").read_text(encoding="utf-8"))
    header, *rows = next(rows for rows in found if rows[0][:2] == ["Model", "Sampler"])
    kinds = [name for name in header if name.startswith("NLL")]
    assert len(kinds) == 3
    spline = next(cells for cells in rows if cells[0] == "spline")
    shown = float(spline[2].replace("**", "").split(" ")[0])
    frame = make_frame()
    chosen = frame[(frame["label"] == "spline") & (frame["dataset_id"] == "ring8") & (frame["metric"] == "w2")]
    assert shown == pytest.approx(chosen["value"].mean(), abs=6e-5)
    by_kind = {name: [c[header.index(name)] for c in rows if c[header.index(name)]] for name in kinds}
    assert all(any("**" in cell for cell in cells) for cells in by_kind.values())
    controls = [cells[0] for cells in rows].index("*Controls*")
    assert not any("**" in cell for cells in rows[controls:] for cell in cells)


def test_unknown_metrics_get_columns_with_direction_and_kind(
    tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, tables: Tables
) -> None:
    frame = make_frame()
    base = frame[(frame["metric"] == "w2") & (frame["dataset_id"] == "ring8")]
    extra = base.assign(metric="spectral_kindness", unit="stars", better="higher", floor=math.nan, details="{}")
    extra = extra.drop(columns=["title", "group", "place", "ranks", "least"])
    page, text = quick(
        make_view(tmp_path, pd.concat([frame, extra], ignore_index=True)), tmp_path / "out", "comparison"
    )
    header, *rows = next(rows for rows in tables(text) if rows[0][:2] == ["Model", "Sampler"])
    column = header.index("spectral kindness \\[stars\\]")
    best = [cells[0] for cells in rows if "**" in cells[column]]
    assert best == ["cold-diffusion"]
    assert "spectral kindness" in page


def test_only_unknown_metrics_and_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_frame: Frames, make_view: Views, quick: Quick
) -> None:
    frame = make_frame(seeds=(0,))
    frame = frame[frame["metric"].isin(["w2", "nfe"])].replace({"metric": {"w2": "kindness"}})
    frame.loc[frame["metric"] == "kindness", ["title", "group", "place"]] = ""
    view = dataclasses.replace(make_view(tmp_path, frame), suite={}, environment={}, cards={})
    monkeypatch.setattr(type(view), "samples", lambda self, evaluation: None)
    page, text = quick(view, tmp_path / "out")
    assert "could not be rendered" not in text
    assert "kindness [data units] against NFE" in page
    assert "Samples" not in re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.usefixtures("undrawn")
def test_the_secondary_distance_leaves_the_main_table(
    tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, tables: Tables
) -> None:
    frame = make_frame()
    frame = frame[frame["dataset_id"] == "ring8"]
    w2 = frame["metric"].isin(["w2", "w2_excess"])
    sliced = frame[w2].assign(
        metric="sliced_" + frame.loc[w2, "metric"], title=frame.loc[w2, "title"].str.replace("W₂", "Sliced W₂")
    )
    frame.loc[w2, ["place", "ranks"]] = ["more", False]
    _, text = quick(
        make_view(tmp_path, pd.concat([frame, sliced], ignore_index=True)), tmp_path / "out", "comparison", "curves"
    )
    first, second = [rows[0] for rows in tables(text) if rows[0][:2] == ["Model", "Sampler"]][:2]
    assert any(name.startswith("Sliced W₂") for name in first)
    assert not any(name.startswith("W₂") for name in first)
    assert any(name.startswith("W₂") for name in second)
    assert "Sliced W₂ excess V \\[data units²\\] against NFE" in text


def test_flags(tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, tables: Tables) -> None:
    frame = make_frame(seeds=(0,))
    low = (frame["metric"] == "w2") & (frame["label"] == "spline") & (frame["dataset_id"] == "ring8")
    frame.loc[low, "value"] = 0.04
    wrong = (frame["metric"] == "nll_gap") & (frame["label"] == "spline")
    frame.loc[wrong, ["value", "ci_low", "ci_high"]] = [-0.3, -0.31, -0.29]
    _, text = quick(make_view(tmp_path, frame), tmp_path / "out", "comparison")
    _, *rows = next(rows for rows in tables(text) if rows[0][:2] == ["Model", "Sampler"])
    lines = {cells[0]: " ".join(cells) for cells in rows}
    assert "†" in lines["spline"]
    assert f"{numbers.MINUS}0.300 ± 0.010!" in lines["spline"]
    assert "§" in lines["ddpm"]
    assert not set("†!§") & set(lines["ddgan"])
    assert "! spline, likelihood and training: NLL − entropy below the lowest possible value" in text


def test_a_likelihood_by_few_steps_stands_beside_the_ode_of_the_same_training(
    tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, tables: Tables
) -> None:
    frame = make_frame()
    ode = frame[(frame["metric"] == "nll_gap") & (frame["label"] == "edm") & (frame["dataset_id"] == "ring8")]
    other = frame[(frame["metric"] == "nll_gap") & (frame["label"] == "ddpm") & (frame["dataset_id"] == "ring8")]
    # Differences of -.15, -.14 and -.13: a mean of -.14, and a half-width of 4.303 (the t-quantile) x .01 / sqrt(3).
    less = ode.assign(likelihood="map", sampler="few", value=ode["value"] - 0.15 + 0.01 * ode["seed"])
    alone = other.assign(likelihood="map", sampler="few")
    page, text = quick(
        make_view(tmp_path, pd.concat([frame, less, alone], ignore_index=True)), tmp_path / "out", "comparison"
    )
    beside = "0.140 ± 0.025 below the ODE of the same training"
    assert text.count("the ODE of the same training") == 1
    assert beside in next(line for line in text.splitlines() if "the ODE of the same" in line)
    assert beside in page


def test_data_whose_likelihood_is_unbounded_carries_a_caution(
    one_seed: trilemma.RunView, tmp_path: Path, quick: Quick
) -> None:
    reason = "coordinate 3 has one value in 12.0% of the rows"
    cards = {name: {**card, "degeneracy": {"unbounded_because": reason}} for name, card in one_seed.cards.items()}
    for text in quick(dataclasses.replace(one_seed, cards=cards), tmp_path, "comparison"):
        assert f"a model can reach any likelihood on this data, because {reason}" in html.unescape(text)
    assert all("unbounded" not in text for text in quick(one_seed, tmp_path, "comparison"))
