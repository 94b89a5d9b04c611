"""The files of a report: when they cannot be written, and whose files are never written over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import trilemma
from trilemma.reports.write import write_report

Command = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(
    "name", ["report.html", *(pytest.param(name, marks=pytest.mark.slow) for name in ("results.csv", "report.md"))]
)
def test_a_report_that_cannot_be_written_is_an_error_and_never_called_written(
    name: str, finished_copy: Path, tiny_file: Path, command: Command
) -> None:
    first = command("run", tiny_file, "--out", finished_copy)
    assert first.exit_code == 0
    assert name in first.output
    (finished_copy / name).unlink()
    (finished_copy / name).mkdir()
    second = command("run", tiny_file, "--out", finished_copy)
    assert second.exit_code == 1
    assert name in second.output
    assert "written:" not in second.output


def test_report_refuses_a_folder_of_somebody_else(finished: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "report.html").write_text("my own page")
    refused = command("report", finished, "--out", tmp_path)
    assert refused.exit_code == 2
    assert "not made by trilemma" in refused.output
    assert (tmp_path / "report.html").read_text() == "my own page"
    for _ in range(2):  # a folder that trilemma made is written again
        assert command("report", finished, "--out", tmp_path / "new").exit_code == 0


def test_report_never_replaces_the_report_of_another_run(finished: Path, finished_copy: Path, command: Command) -> None:
    before = (finished_copy / "report.md").read_text()
    refused = command("report", finished, "--out", finished_copy)
    assert refused.exit_code == 2
    assert "directory of another run" in refused.output
    assert (finished_copy / "report.md").read_text() == before


def test_report_follows_a_link_to_the_run_directory(finished_copy: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "link").symlink_to(finished_copy)
    (finished_copy / "report.html").unlink()
    assert command("report", tmp_path / "link").exit_code == 0
    assert (finished_copy / "report.html").is_file()


def test_no_figure_is_written_through_a_link(finished: Path, tmp_path: Path) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    trilemma.claim_directory(out)
    (out / "figures").symlink_to(treasure)
    picture = trilemma.Section("Picture", "", "", {"picture.png": b"..."})
    section = type("Picture", (trilemma.ReportSection,), {"name": "picture", "render": lambda self, view: picture})
    with pytest.raises(OSError, match="is a link"):
        write_report(trilemma.RunView.open(finished), [section], out)
    assert os.listdir(treasure) == []
