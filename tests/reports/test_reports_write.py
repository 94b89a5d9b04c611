"""The written report: self-contained, escaped, complete, also for runs that went wrong."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

import trilemma
from trilemma.reports import builtin, numbers
from trilemma.reports.write import write_report

SECTIONS = builtin.trilemma_report_sections()
Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
EVIL = "<script>alert('x')</script> & \"quoted\" | *bold* `code`\nsecond line"


class Page(HTMLParser):
    """Collects tags with their attributes, and checks that elements nest."""

    VOID = ("meta", "img", "wbr", "path", "use", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, make_view: Views) -> Path:
    out = tmp_path_factory.mktemp("report")
    paths = write_report(make_view(out / "run"), SECTIONS, out)
    assert all(path.is_file() and path.stat().st_size for path in paths)
    marker = out / "trilemma.json"
    assert sorted(p for p in out.rglob("*") if p.is_file()) == sorted([marker, *paths]), "temporary files left behind"
    return out


def quick(view: trilemma.RunView, out: Path, *names: str) -> tuple[str, str]:
    """HTML and Markdown of a report: of all sections, or of the named ones."""
    write_report(view, [section for section in SECTIONS if not names or section.name in names], out)
    return (out / "report.html").read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a GitHub Markdown text as rows of cells, read by an independent parser."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level >= 4:
            found[-1][-1].append(token.content)
    return found


def test_html_is_one_offline_well_formed_file(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    loads = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert loads
    assert all(value and value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert "Content-Type" not in text
    assert "could not be rendered" not in text


def test_figures_have_alternative_text_and_follow_the_theme(written: Path) -> None:
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    drawings = [attrs for tag, attrs in page.tags if tag == "svg" and "aria-hidden" not in attrs]
    assert images
    assert drawings
    assert all(attrs.get("alt") for attrs in images)
    assert all(attrs.get("aria-label") for attrs in drawings)
    styles = " ".join(attrs.get("style") or "" for _, attrs in page.tags)
    assert "var(--ink)" in styles
    assert "var(--s0)" in styles
    assert "#1c2126" not in styles


def test_ids_inside_the_page_are_unique_and_fragments_resolve(written: Path) -> None:
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    fragments = [v[1:] for _, attrs in page.tags for k, v in attrs.items() if k.endswith("href") and v and v[0] == "#"]
    assert set(fragments) <= ids


def test_every_model_and_every_failure_is_in_both_formats(written: Path, labels: list[str]) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    text = (written / "report.md").read_text(encoding="utf-8")
    for label in labels:
        assert label in text
        assert label.replace("(", "<wbr>(") in page
    for content in (page, text):
        assert "out-of-memory" in content
        assert "&lt;generator&gt; &amp; &lt;discriminator&gt;" in content


def test_markdown_tables_parse_and_figures_exist(written: Path) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    found = tables(text)
    assert len(found) >= 6
    assert all(len({len(cells) for cells in rows}) == 1 for rows in found)
    figures = re.findall(r"(?m)^!\[.+\]\((figures/[\w-]+\.png)\)$", text)
    assert sorted(figures) == sorted(f"figures/{file.name}" for file in (written / "figures").iterdir())
    assert (written / figures[0]).read_bytes().startswith(b"\x89PNG")


def test_comparison_shows_means_marks_and_separate_kinds(written: Path, make_frame: Frames) -> None:
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


def test_csv_is_the_frame(written: Path, make_frame: Frames) -> None:
    pd.testing.assert_frame_equal(
        pd.read_csv(written / "results.csv")[["label", "value"]], make_frame()[["label", "value"]], rtol=1e-12
    )


def test_text_from_outside_is_escaped(tmp_path: Path, make_frame: Frames, make_view: Views) -> None:
    frame = make_frame(seeds=(0,))
    frame["label"] = frame["label"].replace({"edm": f"edm({EVIL})", "oracle": EVIL})
    frame["message"] = frame["message"].map(lambda message: EVIL if isinstance(message, str) else message)
    frame["sampler"] = frame["sampler"].replace({"direct": "direct<b>"})
    page, text = quick(make_view(tmp_path, frame), tmp_path / "out")
    assert "<script>alert" not in page + text
    assert "direct<b>" not in page + text
    assert "&lt;script&gt;alert" in page
    assert Page(page).open == []
    assert all(len({len(cells) for cells in rows}) == 1 for rows in tables(text))


def test_a_run_in_which_everything_failed(tmp_path: Path, make_frame: Frames, make_view: Views) -> None:
    frame = make_frame(seeds=(0,)).drop_duplicates("cell")
    frame = frame.assign(metric=None, value=math.nan, sampler=None, outcome="error", phase="build", message="no luck")
    page, text = quick(make_view(tmp_path, frame), tmp_path / "out")
    assert "could not be rendered" not in text
    assert "no luck" in page
    assert "24: 0 ok, 24 error" in text


@pytest.mark.parametrize("with_columns", [False, True])
def test_an_empty_frame(tmp_path: Path, with_columns: bool, make_frame: Frames, make_view: Views) -> None:
    columns = list(make_frame().columns) if with_columns else []
    page, text = quick(make_view(tmp_path, pd.DataFrame(columns=columns)), tmp_path / "out")
    assert "could not be rendered" not in page + text
    assert "How to read" in page


def test_unknown_metrics_get_columns_with_direction_and_kind(
    tmp_path: Path, make_frame: Frames, make_view: Views
) -> None:
    frame = make_frame(seeds=(0,))
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_frame: Frames, make_view: Views
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


def test_the_secondary_distance_leaves_the_main_table(tmp_path: Path, make_frame: Frames, make_view: Views) -> None:
    frame = make_frame(seeds=(0,))
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
    assert "Sliced W₂ \\[data units\\] against NFE" in text


def test_flags(tmp_path: Path, make_frame: Frames, make_view: Views) -> None:
    frame = make_frame(seeds=(0,))
    low = (frame["metric"] == "w2") & (frame["label"] == "spline") & (frame["dataset_id"] == "ring8")
    frame.loc[low, "value"] = 0.04
    wrong = (frame["metric"] == "nll_gap") & (frame["label"] == "spline")
    frame.loc[wrong, ["value", "ci_low", "ci_high"]] = [-0.3, -0.31, -0.29]
    _, text = quick(make_view(tmp_path, frame), tmp_path / "out", "comparison")
    _, *rows = next(rows for rows in tables(text) if rows[0][:2] == ["Model", "Sampler"])
    lines = {cells[0]: " ".join(cells) for cells in rows}
    assert "†" in lines["spline"]
    assert f"{numbers.MINUS}0.300** ± 0.010*" in lines["spline"]
    assert "‡" in lines["kde"]
    assert "§" in lines["ddpm"]
    assert not set("†‡§") & set(lines["ddgan"])


def test_a_broken_section_takes_nothing_else_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make_frame: Frames, make_view: Views
) -> None:
    class Broken(trilemma.ReportSection):
        name = "broken"
        order = 5

        def render(self, view: trilemma.RunView) -> trilemma.Section | None:
            raise RuntimeError("<oops>")

    view = make_view(tmp_path, make_frame(seeds=(0,)))
    write_report(view, [*SECTIONS[:2], Broken], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["broken", "Overview", "Comparison"]
    assert "RuntimeError: &lt;oops&gt;" in page
    assert "broken" in caplog.text


def test_sections_appear_by_order_and_their_figures_stay_inside(
    tmp_path: Path, make_frame: Frames, make_view: Views
) -> None:
    class Late(trilemma.ReportSection):
        name = "late"
        order = 99

        def render(self, view: trilemma.RunView) -> trilemma.Section | None:
            return trilemma.Section("Late", "<p>late</p>", "late", {"../../escape.png": b"png"})

    paths = write_report(make_view(tmp_path, make_frame(seeds=(0,))), [Late, SECTIONS[0]], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Overview", "Late"]
    assert paths[-1] == tmp_path / "out" / "figures" / "escape.png"


def test_a_failed_write_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_frame: Frames, make_view: Views
) -> None:
    view = make_view(tmp_path, make_frame(seeds=(0,)))
    write_report(view, SECTIONS[:1], tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_report(view, SECTIONS[:2], tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.glob(".*tmp"))


@pytest.fixture
def report_group(monkeypatch: pytest.MonkeyPatch, make_frame: Frames, make_view: Views) -> click.Group:
    monkeypatch.setattr(trilemma, "report_sections", lambda: SECTIONS[:1], raising=False)
    monkeypatch.setattr(
        trilemma.RunView,
        "open",
        classmethod(lambda cls, path: make_view(Path(path), make_frame((0,)))),
        raising=False,
    )
    group = click.Group()
    builtin.trilemma_commands(group)
    return group


def test_command_writes_into_the_run_and_prints_json(report_group: click.Group, tmp_path: Path) -> None:
    result = CliRunner().invoke(report_group, ["report", str(tmp_path), "--json"], catch_exceptions=False)
    assert json.loads(result.output)["written"] == [
        str(tmp_path / name) for name in ("report.html", "report.md", "results.csv")
    ]


def test_command_writes_elsewhere_and_has_an_example(report_group: click.Group, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    run = tmp_path / "run"
    run.mkdir()
    result = CliRunner().invoke(report_group, ["report", str(run), "--out", str(out)], catch_exceptions=False)
    assert result.output.splitlines()[0] == str(out / "report.html")
    assert not list(run.iterdir())
    assert "trilemma report runs/" in CliRunner().invoke(report_group, ["report", "--help"]).output


def test_hook_writes_the_report_when_a_run_has_ended(
    report_group: click.Group, tmp_path: Path, make_frame: Frames
) -> None:
    builtin.trilemma_run_finished(tmp_path, SECTIONS)
    assert (tmp_path / "report.html").is_file()


def test_data_whose_likelihood_is_unbounded_carries_a_caution(make_view: Views, tmp_path: Path) -> None:
    view = make_view(tmp_path / "run")
    reason = "coordinate 3 has one value in 12.0% of the rows"
    cards = {name: {**card, "degeneracy": {"unbounded_because": reason}} for name, card in view.cards.items()}
    for text in quick(dataclasses.replace(view, cards=cards), tmp_path, "comparison"):
        assert f"a model can reach any likelihood on this data, because {reason}" in html.unescape(text)
    assert all("unbounded" not in text for text in quick(view, tmp_path, "comparison"))
