"""The first section of a report: cards of sentences, the picture of quality against cost, and its data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import trilemma
from trilemma.reports import figures
from trilemma.reports.figures import inks
from trilemma.reports.fronts import vega
from trilemma.reports.fronts.corners import corners
from trilemma.reports.fronts.front import Picture, picture
from trilemma.reports.kit import digest
from trilemma.reports.sections.overview import brief

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
Quick = Callable[..., tuple[str, str]]
PLACE = ("60 s", "cpu", "")
EVIL = "</script><script>alert(1)</script><!-- '\"`${7*7} datum.c0 @c \u2028 {{x}}"


@pytest.fixture(scope="module")
def made(whole: trilemma.RunView) -> Picture:
    """The picture of the synthetic run on ring8."""
    found = picture(digest(whole), "ring8", *PLACE)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def data(made: Picture) -> dict[str, Any]:
    return vega.payload(made)


def test_the_section_comes_first_and_holds_a_card_and_a_picture_for_each_dataset(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    text = (written / "report.md").read_text(encoding="utf-8")
    assert text.index("## At a glance") < text.index("## Comparison")
    assert page.count('<figure class="answer-front"') == 2
    assert len(re.findall(r'<div class="answer-still"><svg[^>]*role="img" aria-label="[^"]+ against', page)) == 2
    assert page.count('id="answer-vega"') == 1
    assert len(page) < 2_600_000
    with Image.open(written / "figures" / "card.png") as card:
        assert card.size == (1200, 630)


def test_each_number_has_its_interval_in_the_page_and_in_markdown(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    text = (written / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r'<span class="answer-number" tabindex="0">([^<]+)<span>([^<]+)</span></span>', page)
    assert any("NLL − entropy" in number and "95 % interval over 3 seeds:" in about for number, about in shown)
    assert re.search(r"\*\*Best likelihood \(ODE\)\*\*: edm: NLL − entropy [.\d]+ nats \([.\d]+ to [.\d]+\)", text)


@pytest.mark.usefixtures("undrawn")
def test_a_dataset_without_results_says_so(tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick) -> None:
    frame = make_frame(seeds=(0,))
    frame = frame[(frame["dataset_id"] == "ring8") | (frame["outcome"] != "ok")]
    page, text = quick(make_view(tmp_path, frame), tmp_path / "out", "answer")
    assert "Nothing was measured on this dataset" in page
    assert "Nothing was measured on this dataset" in text
    assert "one seed: no comparison of models" in page


def test_the_front_is_the_pareto_front_of_the_means(made: Picture) -> None:
    checked = 0
    for cost in made.costs:
        for quality in [q for q in made.qualities if q.ranked]:
            at = [i for i, p in enumerate(made.points) if cost.metric in p.costs and quality.metric in p.qualities]
            values = [[made.points[i].costs[cost.metric], made.points[i].qualities[quality.metric][0]] for i in at]
            expected = trilemma.on_front(np.array(values), ["lower", "lower"])
            front = made.front(cost, quality)
            assert sorted(front.on) == [i for i, on in zip(at, expected, strict=True) if on]
            assert [step[0] for step in front.steps] == sorted(step[0] for step in front.steps)
            assert all(low <= value <= high for _, value, low, high in front.steps)
            checked += 1
    assert checked >= 4


def test_kinds_of_likelihood_have_no_common_front_and_marked_rows_are_on_none(
    tmp_path: Path, make_frame: Frames, make_view: Views, made: Picture
) -> None:
    gap = next(q for q in made.qualities if q.metric == "nll_gap")
    assert not gap.ranked
    assert made.front(made.costs[0], gap).on == ()
    best = made.points[made.front(made.costs[0], made.qualities[0]).on[-1]]
    frame = make_frame()
    frame["marks"] = np.where(
        (frame["label"] == best.model) & (frame["sampler"] == best.sampler) & (frame["group"] == "quality"),
        "repeats points", "",
    )  # fmt: skip
    again = picture(digest(make_view(tmp_path, frame)), "ring8", *PLACE)
    assert again is not None
    named = [again.points[i] for i in again.front(again.costs[0], again.qualities[0]).on]
    assert named
    assert (best.model, best.sampler) not in {(point.model, point.sampler) for point in named}


def test_every_choice_of_axes_compiles(data: dict[str, Any]) -> None:
    vl_convert = pytest.importorskip("vl_convert")
    choices = [(0, q) for q in range(len(data["qualities"]))] + [(len(data["costs"]) - 1, 0)]
    for cost, quality in choices:
        spec = vega.filled(data, cost, quality)
        assert "@" not in json.dumps([layer["encoding"] for layer in spec["layer"]])
        compiled = vl_convert.vegalite_to_vega(spec)
        assert {"points", "front", "floor", "controls"} <= {source["name"] for source in compiled["data"]}
    drawn = vl_convert.vegalite_to_svg(spec | {"width": 600, "height": 400})
    assert drawn.count('aria-roledescription="point"') == sum(
        point["c1"] is not None and point["q0"] is not None for point in data["points"]
    )


@pytest.mark.usefixtures("undrawn")
def test_names_from_outside_stay_data(
    tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, parse: Callable[[str], Any]
) -> None:
    frame = make_frame(seeds=(0,))
    frame["label"] = frame["label"].replace({"edm": EVIL, "gmm(components=10)": "{'signal': 'x'}"})
    frame["sampler"] = frame["sampler"].replace({"direct": EVIL})
    frame["title"] = frame["title"].replace({"W₂": EVIL})
    page, _ = quick(make_view(tmp_path, frame), tmp_path / "out", "answer")
    assert parse(page).open == []
    assert "<script>alert(1)" not in page
    found = re.search(r'<script type="application/json" id="front-1">(.*?)</script>', page, re.DOTALL)
    assert found
    inline = json.loads(found.group(1))
    assert EVIL in {point["label"] for point in inline["points"]}
    assert EVIL not in json.dumps(inline["template"])
    assert not set("<>&") & set(found.group(1))


def test_a_picture_without_numbers_that_are_finite_is_left_out_and_json_has_no_nan(
    tmp_path: Path, make_frame: Frames, make_view: Views, data: dict[str, Any]
) -> None:
    frame = make_frame(seeds=(0,))
    frame.loc[frame["group"] == "sampling", "value"] = math.inf
    assert picture(digest(make_view(tmp_path, frame)), "ring8", *PLACE) is None
    json.loads(str(vega.inlined(data)), parse_constant=pytest.fail)


def test_corners_need_three_axes_and_put_the_better_value_on_top(made: Picture) -> None:
    groups = {quality.metric: "quality" for quality in made.qualities}
    assert corners(made, groups) is None
    second = made.qualities[1].metric
    found = corners(made, groups | {second: "coverage"})
    assert found is not None
    assert [axis.name for axis in found.axes] == ["Quality", "Coverage", "Speed"]
    values = {p.model: p.costs[made.costs[0].metric] for p in made.points}
    speed = dict(zip(found.labels, found.axes[2].heights, strict=True))
    assert speed["realnvp(transforms=8)"] == 1 == max(speed.values())
    assert min(speed.values()) == 0
    assert found.axes[2].best == min(values.values())


def test_color_says_the_family_and_the_marker_the_model() -> None:
    styles = inks({"a": "flow", "b": "diffusion", "c": "flow", "d": "", "e": "new"})
    assert styles["a"].color == styles["c"].color
    assert styles["a"].marker != styles["c"].marker
    assert len({styles[label].color for label in "abde"}) == 4
    assert styles["b"].color == inks({"x": "diffusion"})["x"].color
    assert list(styles) == list("abcde")
    others = inks({family: family for family in ("new", "diffusion", "newer", "adversarial", "newest", "a", "b", "c")})
    assert len({style.color for style in others.values()}) == 8, "each family has a color of its own"
    assert len(inks({f"family {i}": f"family {i}" for i in range(20)})) == 20
    crowd = {f"{family}{i}": family for i in range(8) for family in ("flow", "diffusion")}
    assert len({style.marker for style in inks(dict(list(crowd.items())[:8])).values()}) == 8, "told apart in gray"
    both = inks(crowd)
    assert len({(style.color, style.marker) for style in both.values()}) == 16


def test_a_drawing_keeps_the_decimals_that_a_reader_sees() -> None:
    def draw(figure: Figure) -> None:
        figure.text(0.123456, 0.5, "0.003 and 0.00025")

    drawn = figures.svg(draw, (2, 1), "a number")
    assert "0.003 and 0.00025" in drawn
    assert not re.search(r"[\" ]\d+\.\d{3,}", re.sub(r"<text.*?</text>", "", drawn, flags=re.DOTALL))


def test_the_library_is_inert_text_for_the_page() -> None:
    code = str(vega.library())
    assert "</script" not in code.lower()
    assert "<!--" not in code
    assert trilemma.printable(code) == code
    assert "vegaEmbed" in code
    assert len(code) < 1_000_000


def test_the_card_is_a_picture_of_the_first_dataset(one_seed: trilemma.RunView) -> None:
    section = next(s for s in trilemma.report_sections() if s.name == "answer")().render(one_seed)
    assert section is not None
    assert list(section.figures) == ["card.png", "front-2.png"]
    with Image.open(BytesIO(section.figures["card.png"])) as image:
        assert len(image.convert("L").getcolors(1 << 16) or []) > 50


def test_two_runs_on_one_machine_are_no_several_machines(whole: trilemma.RunView) -> None:
    one = {"cpu": "Abacus", "threads": 1}
    again, elsewhere = {**one, "git_commit": "0123abc"}, {**one, "cpu": "Slide rule"}
    assert "Abacus · 1 thread" in brief(digest(whole), replace(whole, environments=(one, again)))
    assert "several machines" in brief(digest(whole), replace(whole, environments=(one, elsewhere)))
