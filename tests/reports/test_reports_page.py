"""The pages of a report: self-contained, escaped, complete."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import trilemma

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
Quick = Callable[..., tuple[str, str]]
Tables = Callable[[str], list[list[list[str]]]]
Parse = Callable[[str], Any]
EVIL = "<script>alert('x')</script> & \"quoted\" | *bold* `code`\nsecond line"


def test_html_is_one_offline_well_formed_file(written: Path, parse: Parse) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = parse(text)
    assert page.open == []
    loads = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")]
    assert loads
    assert all(value and value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base"}
    own = re.sub(r'<script type="text/plain" id="answer-vega">.*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", own)
    assert "Content-Type" not in own
    assert "could not be rendered" not in text


def test_figures_have_alternative_text_and_follow_the_theme(written: Path, parse: Parse) -> None:
    page = parse((written / "report.html").read_text(encoding="utf-8"))
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


def test_ids_inside_the_page_are_unique_and_fragments_resolve(written: Path, parse: Parse) -> None:
    page = parse((written / "report.html").read_text(encoding="utf-8"))
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


def test_markdown_tables_parse_and_figures_exist(written: Path, tables: Tables) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    found = tables(text)
    assert len(found) >= 6
    assert all(len({len(cells) for cells in rows}) == 1 for rows in found)
    figures = re.findall(r"(?m)^!\[.+\]\((figures/[\w-]+\.png)\)$", text)
    assert sorted(figures) == sorted(f"figures/{file.name}" for file in (written / "figures").iterdir())
    assert (written / figures[0]).read_bytes().startswith(b"\x89PNG")


def test_csv_is_the_frame(written: Path, make_frame: Frames) -> None:
    pd.testing.assert_frame_equal(
        pd.read_csv(written / "results.csv")[["label", "value"]], make_frame()[["label", "value"]], rtol=1e-12
    )


def test_text_from_outside_is_escaped(
    tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick, tables: Tables, parse: Parse
) -> None:
    frame = make_frame(seeds=(0,))
    frame["label"] = frame["label"].replace({"edm": f"edm({EVIL})", "oracle": EVIL})
    frame["message"] = frame["message"].map(lambda message: EVIL if isinstance(message, str) else message)
    frame["sampler"] = frame["sampler"].replace({"direct": "direct<b>"})
    page, text = quick(make_view(tmp_path, frame), tmp_path / "out")
    assert "<script>alert" not in page + text
    assert "direct<b>" not in page + text
    assert "&lt;script&gt;alert" in page
    assert parse(page).open == []
    assert all(len({len(cells) for cells in rows}) == 1 for rows in tables(text))
