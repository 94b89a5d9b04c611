"""Reports of runs that went wrong, sections that fail, files that cannot be written, and the command."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.reports import builtin
from trilemma.reports.write import write_report

Frames = Callable[..., pd.DataFrame]
Views = Callable[..., trilemma.RunView]
Quick = Callable[..., tuple[str, str]]
SECTIONS = Registry(builtin_only=True).classes("report_sections")
OVERVIEW, FAILURES = SECTIONS["overview"], SECTIONS["failures"]


def titles(page: str) -> list[str]:
    """The titles of the sections of a page, without what its scripts hold."""
    return re.findall(r"<h2>(.*?)</h2>", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_a_run_in_which_everything_failed(tmp_path: Path, make_frame: Frames, make_view: Views, quick: Quick) -> None:
    frame = make_frame(seeds=(0,)).drop_duplicates("cell")
    frame = frame.assign(metric=None, value=math.nan, sampler=None, outcome="error", phase="build", message="no luck")
    page, text = quick(make_view(tmp_path, frame), tmp_path / "out")
    assert "could not be rendered" not in text
    assert "no luck" in page
    assert "24: 0 ok, 24 error" in text


@pytest.mark.parametrize("with_columns", [False, True])
def test_an_empty_frame(tmp_path: Path, with_columns: bool, make_frame: Frames, make_view: Views, quick: Quick) -> None:
    columns = list(make_frame().columns) if with_columns else []
    page, text = quick(make_view(tmp_path, pd.DataFrame(columns=columns)), tmp_path / "out")
    assert "could not be rendered" not in page + text
    assert "How to read" in page


def test_a_broken_section_takes_nothing_else_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, one_seed: trilemma.RunView
) -> None:
    class Broken(trilemma.ReportSection):
        name = "broken"
        order = 5

        def render(self, view: trilemma.RunView) -> trilemma.Section | None:
            raise RuntimeError("<oops>")

    write_report(one_seed, [OVERVIEW, FAILURES, Broken], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert titles(page) == ["broken", "Failures", "What was run"]
    assert "RuntimeError: &lt;oops&gt;" in page
    assert "broken" in caplog.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise OSError('/home/ann/x.csv \\x1b[31m \\ud800')", "OSError: x.csv \\x1b[31m \N{REPLACEMENT CHARACTER}"),
        ("return 'text'", "render returned str"),
        ("return trilemma.Section('a', 'b', 'c', {'x.png': 'text'})", "is not a file name with the bytes"),
    ],
)
def test_a_hostile_section_ends_nothing(body: str, said: str, tmp_path: Path, one_seed: trilemma.RunView) -> None:
    space: dict[str, Any] = {"trilemma": trilemma}
    exec(f"def render(self, view):\n    {body}", space)
    hostile = type("Hostile", (trilemma.ReportSection,), {"name": "hostile", "order": 1, "render": space["render"]})
    write_report(one_seed, [hostile, OVERVIEW], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert titles(page) == ["hostile", "What was run"]
    assert said in page


def test_sections_appear_by_order_and_their_figures_stay_inside(tmp_path: Path, one_seed: trilemma.RunView) -> None:
    class Late(trilemma.ReportSection):
        name = "late"
        order = 99

        def render(self, view: trilemma.RunView) -> trilemma.Section | None:
            return trilemma.Section("Late", "<p>late</p>", "late", {"../../escape.png": b"png"})

    paths = write_report(one_seed, [Late, OVERVIEW], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert titles(page) == ["What was run", "Late"]
    assert paths[-1] == tmp_path / "out" / "figures" / "escape.png"


def test_a_failed_write_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_seed: trilemma.RunView
) -> None:
    write_report(one_seed, [OVERVIEW], tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_report(one_seed, [OVERVIEW, FAILURES], tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.glob(".*tmp"))


@pytest.fixture
def report_group(monkeypatch: pytest.MonkeyPatch, undrawn: None, make_frame: Frames, make_view: Views) -> click.Group:
    monkeypatch.setattr(trilemma, "report_sections", lambda: [SECTIONS["answer"]], raising=False)
    monkeypatch.setattr(
        trilemma.RunView,
        "open",
        classmethod(lambda cls, path, frame=None: make_view(Path(path), make_frame((0,)) if frame is None else frame)),
        raising=False,
    )
    group = click.Group()
    builtin.trilemma_commands(group)
    return group


def test_command_writes_into_the_run_and_prints_json(report_group: click.Group, tmp_path: Path) -> None:
    result = CliRunner().invoke(report_group, ["report", str(tmp_path), "--json"], catch_exceptions=False)
    written = json.loads(result.output)["written"]
    assert written[:3] == [str(tmp_path / name) for name in ("report.html", "report.md", "results.csv")]
    assert {str(Path(file).parent) for file in written[3:]} == {str(tmp_path / "figures")}


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
    builtin.trilemma_run_finished(tmp_path, make_frame(seeds=(0,)), [SECTIONS["answer"]])
    assert (tmp_path / "report.html").is_file()
