"""The user's files are safe: what trilemma refuses, what it deletes, and what a second command may not hide."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.cli import main
from trilemma.harness.store.store import MARKER, Store, write_json
from trilemma.reports.write import write_report

SUITE: dict[str, Any] = {
    "name": "test",
    "budget": {"steps": 5},
    "datasets": [{"name": "ring8", "config": {"n_train": 200, "n_valid": 100, "n_test": 100}}],
    "models": [{"name": "gaussian"}, {"name": "gmm", "config": {"components": [2]}}],
    "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
}


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its time of change and content."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    trilemma.run(SUITE, out=out)
    return out


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
@pytest.mark.parametrize("link", [True, False], ids=["link", "folder"])
def test_a_directory_of_somebody_else_is_refused_and_untouched(dry: bool, link: bool, tmp_path: Path) -> None:
    home, treasure = tmp_path / "home", tmp_path / "treasure"
    for folder in (home, treasure):
        folder.mkdir()
    (treasure / "thesis.txt").write_text("three years of work")
    if link:
        (home / "tmp").symlink_to(treasure)
    else:
        (home / "tmp").mkdir()
        (home / "tmp" / "thesis.txt").write_text("three years of work")
    before = tree(tmp_path)
    runner = make_runner(SUITE, out=home)
    with pytest.raises(trilemma.StoreError, match=r"not made by trilemma.*nothing in it was touched.*--out"):
        _ = runner.dry_run() if dry else runner.run()
    assert tree(tmp_path) == before
    assert sorted(os.listdir(home)) == ["tmp"]


def test_a_directory_of_the_first_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"format": 1, "cells": [], "suite": {}})
    with pytest.raises(trilemma.StoreError, match=r"trilemma 0\.1, whose run directories bear no marker"):
        make_runner(SUITE, out=tmp_path).run()
    with pytest.raises(trilemma.StoreError, match=r"trilemma 0\.1"):
        trilemma.load_results(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / MARKER, {"format": 99})
    with pytest.raises(trilemma.StoreError, match="format 99"):
        make_runner(SUITE, out=tmp_path).run()


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    with Store(tmp_path).writing():
        assert (tmp_path / MARKER).is_file()


def test_only_names_that_trilemma_makes_are_deleted_and_no_link_is_followed(tmp_path: Path) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "thesis.txt").write_text("three years of work")
    with Store(out).writing():
        pass
    own = [f"job-{'0123456789abcdef0123'}", "cells-0123-77", "old-evaluations-ab12-5"]
    for name in [*own, "notes", "job-mine"]:
        (out / "tmp" / name).mkdir()
        (out / "tmp" / name / "file").write_text("x")
    (out / "tmp" / f"job-{'f' * 20}").symlink_to(treasure)
    (out / "tmp" / own[0] / "link").symlink_to(treasure)
    with Store(out).writing():
        pass
    assert sorted(os.listdir(out / "tmp")) == ["job-" + "f" * 20, "job-mine", "notes"]
    assert (treasure / "thesis.txt").read_text() == "three years of work"


@pytest.mark.parametrize("name", ["tmp", "cells", "logs"])
def test_a_room_of_the_run_directory_that_is_a_link_is_refused(name: str, tmp_path: Path) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    with Store(out).writing():
        pass
    (out / name).rmdir()
    (out / name).symlink_to(treasure)
    with pytest.raises(trilemma.StoreError, match="is a link"), Store(out).writing():
        pass


def test_a_dry_run_writes_nothing(finished: Path, tmp_path: Path) -> None:
    before = tree(finished)
    more = {**SUITE, "datasets": [*SUITE["datasets"], {"name": "moons"}]}
    assert [item.cell.dataset.name for item in make_runner(more, out=finished).dry_run()] == ["moons", "moons"]
    assert tree(finished) == before
    make_runner(SUITE, out=tmp_path / "new").dry_run()
    assert os.listdir(tmp_path) == []


def test_no_job_file_is_left_when_cells_have_ended(finished: Path) -> None:
    assert os.listdir(finished / "tmp") == []


def test_a_run_of_a_subset_adds_to_the_report_and_hides_nothing(tmp_path: Path) -> None:
    trilemma.run(SUITE, out=tmp_path)
    again = trilemma.run(SUITE, out=tmp_path, models=["gaussian", "kde"])
    assert list(dict.fromkeys(again["label"])) == ["gaussian", "gmm(components=2)", "kde"]
    assert set(again.loc[again["selected"], "label"]) == {"gaussian", "kde"}
    assert not again["superseded"].any()
    for report in ("report.html", "report.md", "results.csv"):
        text = (tmp_path / report).read_text()
        assert all(label in text for label in ("gmm(components=2)", "kde", "gaussian")), report
    page = (tmp_path / "report.md").read_text()
    assert "▸ kde" in page
    assert "▸ gmm" not in page
    shown = command("results", tmp_path).output
    assert "gmm(components=2)" in shown


def test_a_failure_of_an_earlier_command_is_shown_but_is_not_this_commands_failure(tmp_path: Path) -> None:
    bad = Path(__file__).parents[1] / "bad_plugins.py"
    file, out = tmp_path / "suite.toml", tmp_path / "out"
    file.write_text(
        'name = "two"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
        'models = [{ name = "well" }, { name = "raises" }]\n'
    )
    arguments = ("run", file, "--out", out, "--plugin", bad)
    assert command(*arguments).exit_code == 1
    second = command(*arguments, "--models", "well")
    assert second.exit_code == 0
    assert "raises" in second.output
    assert command(*arguments).exit_code == 1


def test_newer_options_of_a_metric_supersede_its_older_values_only(tmp_path: Path) -> None:
    trilemma.run(SUITE, out=tmp_path)
    changed = {**SUITE, "metrics": {"wasserstein": {"n": 40, "draws": 2}}}
    trilemma.run(changed, out=tmp_path, models=["gaussian"])
    frame = trilemma.load_results(tmp_path, superseded=True)
    w2 = frame[(frame["metric"] == "w2") & (frame["label"] == "gaussian")]
    assert w2.set_index("n")["superseded"].to_dict() == {50.0: True, 40.0: False}
    assert not frame.loc[frame["metric"] == "nll", "superseded"].any()
    table = trilemma.summary_rows(frame)
    assert table.loc[(table["metric"] == "w2") & (table["label"] == "gaussian"), "n"].tolist() == [40.0]
    assert "older results" in (tmp_path / "report.md").read_text()


def test_newer_data_supersedes_the_cells_of_the_older(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    values = {**SUITE, "datasets": [{"name": "file", "config": {"path": str(table)}}]}
    rows = [[0.1 * i, (0.3 * i) % 1] for i in range(300)]
    for factor in (1, 2):
        table.write_text("\n".join(f"{factor * a},{b}" for a, b in rows))
        current = trilemma.run(values, out=tmp_path / "out")
    frame = trilemma.load_results(tmp_path / "out", superseded=True)
    pd.testing.assert_frame_equal(frame[~frame["superseded"]].reset_index(drop=True), current)
    counts = frame.drop_duplicates("cell").groupby("label")["superseded"].sum()
    assert counts.to_dict() == {"gaussian": 1, "gmm(components=2)": 1}
    assert frame["superseded"].sum() == (~frame["superseded"]).sum()


@pytest.mark.parametrize("name", ["report.html", "results.csv", "report.md"])
def test_a_report_that_cannot_be_written_is_an_error_and_never_called_written(name: str, tmp_path: Path) -> None:
    file, out = tmp_path / "suite.toml", tmp_path / "out"
    file.write_text(
        'name = "one"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\nmodels = [{ name = "gaussian" }]\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
    )
    assert f"{name}" in command("run", file, "--out", out).output
    (out / name).unlink()
    (out / name).mkdir()
    second = command("run", file, "--out", out)
    assert second.exit_code == 1
    assert name in second.output
    assert "written:" not in second.output


def test_report_refuses_a_folder_of_somebody_else(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("my own page")
    refused = command("report", finished, "--out", tmp_path)
    assert refused.exit_code == 2
    assert "not made by trilemma" in refused.output
    assert (tmp_path / "report.html").read_text() == "my own page"
    for _ in range(2):  # a folder that trilemma made is written again
        assert command("report", finished, "--out", tmp_path / "new").exit_code == 0


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
