"""One directory, several commands: what a later one adds, what it supersedes, and what it may not hide."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Command = Callable[..., Result]
Edit = Callable[[Path, Callable[[Suite], object]], None]


def evaluations(record: Suite) -> Iterator[Suite]:
    """All evaluations that run.json lists."""
    return (planned for cell in record["cells"] for planned in cell["evaluations"])


@pytest.mark.reports
def test_a_run_of_a_subset_adds_to_the_report_and_hides_nothing(
    finished_copy: Path, tiny_suite: Suite, command: Command
) -> None:
    again = trilemma.run(tiny_suite, out=finished_copy, models=["gaussian", "kde"])
    assert list(dict.fromkeys(again["label"])) == ["gaussian", "realnvp(transforms=2)", "realnvp(transforms=3)", "kde"]
    assert set(again.loc[again["selected"], "label"]) == {"gaussian", "kde"}
    assert not again["superseded"].any()
    for report in ("report.html", "report.md", "results.csv"):
        text = (finished_copy / report).read_text()
        assert all(label in text for label in ("realnvp(transforms=2)", "kde", "gaussian")), report
    page = (finished_copy / "report.md").read_text()
    assert "▸ kde" in page
    assert "▸ realnvp" not in page
    shown = command("results", finished_copy).output
    assert "realnvp(transforms=2)" in shown


def test_a_failure_of_an_earlier_command_is_shown_but_is_not_this_commands_failure(
    tmp_path: Path, command: Command, bad_plugins: Path
) -> None:
    file, out = tmp_path / "suite.toml", tmp_path / "out"
    file.write_text(
        'name = "two"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
        'models = [{ name = "well" }, { name = "raises" }]\n'
    )
    arguments = ("run", file, "--out", out, "--plugin", bad_plugins)
    assert command(*arguments).exit_code == 1
    second = command(*arguments, "--models", "well")
    assert second.exit_code == 0
    assert "raises" in second.output
    assert command(*arguments).exit_code == 1


@pytest.mark.reports
def test_newer_options_of_a_metric_supersede_its_older_values_only(finished_copy: Path, tiny_suite: Suite) -> None:
    changed = {**tiny_suite, "metrics": {"wasserstein": {"n": 40, "draws": 2}}}
    trilemma.run(changed, out=finished_copy, models=["gaussian"])
    frame = trilemma.load_results(finished_copy, superseded=True)
    w2 = frame[(frame["metric"] == "w2") & (frame["label"] == "gaussian")]
    assert w2.set_index("n")["superseded"].to_dict() == {50.0: True, 40.0: False}
    assert not frame.loc[frame["metric"] == "nll", "superseded"].any()
    table = trilemma.summary_rows(frame)
    assert table.loc[(table["metric"] == "w2") & (table["label"] == "gaussian"), "n"].tolist() == [40.0]
    assert "older results" in (finished_copy / "report.md").read_text()


def test_a_line_never_mixes_two_versions_of_a_sampler(finished_copy: Path, tiny_suite: Suite, edit: Edit) -> None:
    more = {**tiny_suite, "metrics": {"wasserstein": {"n": 50, "draws": 2}, "modes": {}}}
    trilemma.run(more, out=finished_copy, models=["gaussian"])
    edit(finished_copy, lambda record: [p.update(source="that of an older version") for p in evaluations(record)])
    fewer = {**tiny_suite, "metrics": {"wasserstein": {"n": 40, "draws": 2}}}
    frame = trilemma.run(fewer, out=finished_copy, models=["gaussian"])
    sampled = frame[(frame["label"] == "gaussian") & frame["sampler"].notna()]
    assert "w2" in set(sampled["metric"])
    assert "modes_covered" not in set(sampled["metric"]), "the older sampler's value beside the newer one's"


def test_newer_data_supersedes_the_cells_of_the_older(tmp_path: Path, tiny_suite: Suite) -> None:
    table = tmp_path / "table.csv"
    values = {**tiny_suite, "datasets": [{"name": "file", "config": {"path": str(table)}}]}
    rows = [[0.1 * i, (0.3 * i) % 1] for i in range(300)]
    for factor in (1, 2):
        table.write_text("\n".join(f"{factor * a},{b}" for a, b in rows))
        current = trilemma.run(values, out=tmp_path / "out")
    frame = trilemma.load_results(tmp_path / "out", superseded=True)
    pd.testing.assert_frame_equal(frame[~frame["superseded"]].reset_index(drop=True), current, check_frame_type=False)
    counts = frame.drop_duplicates("cell").groupby("label")["superseded"].sum()
    assert counts.to_dict() == {"gaussian": 1, "realnvp(transforms=2)": 1, "realnvp(transforms=3)": 1}
    assert frame["superseded"].sum() == (~frame["superseded"]).sum()


@pytest.mark.reports
def test_a_cell_that_has_not_run_hides_no_older_result(finished_copy: Path, command: Command, edit: Edit) -> None:
    """The newest of three versions of a cell was interrupted: the second stays, and supersedes the first."""
    first = Store(finished_copy).run()["cells"][0]

    def add(record: Suite) -> None:
        record["runs"] *= 3
        record["cells"] += [{**first, "id": f"newer{number}", "run": number} for number in (1, 2)]

    edit(finished_copy, add)
    shutil.copytree(finished_copy / "cells" / first["id"], finished_copy / "cells" / "newer1")
    frame = trilemma.load_results(finished_copy, superseded=True)
    superseded = frame.groupby("cell")["superseded"].all()
    assert superseded[[first["id"], "newer1", "newer2"]].tolist() == [True, False, False]
    assert set(frame.loc[frame["cell"] == "newer2", "outcome"]) == {"interrupted"}
    assert command("report", finished_copy).exit_code == 0
    assert "not run yet" in (finished_copy / "report.md").read_text()
    shutil.rmtree(finished_copy / "cells" / "newer1")
    shutil.rmtree(finished_copy / "cells" / first["id"])
    frame = trilemma.load_results(finished_copy, superseded=True)
    superseded = frame.groupby("cell")["superseded"].all()
    assert superseded[[first["id"], "newer1", "newer2"]].tolist() == [True, True, False]


def test_an_evaluation_that_has_not_run_hides_no_older_result(finished_copy: Path, tiny_suite: Suite) -> None:
    changed = {**tiny_suite, "metrics": {"wasserstein": {"n": 40, "draws": 2}}}
    frame = trilemma.run(changed, out=finished_copy, models=["gaussian"])
    newer = frame.loc[frame["n"] == 40, "evaluation"].unique()
    assert len(newer) == 1
    shutil.rmtree(finished_copy / "evaluations" / newer[0])
    frame = trilemma.load_results(finished_copy)
    assert 50 in frame.loc[(frame["metric"] == "w2") & (frame["label"] == "gaussian"), "n"].tolist()
    assert set(frame.loc[frame["evaluation"] == newer[0], "outcome"]) == {"interrupted"}


def test_a_directory_of_before_the_timing_phase_is_read(finished_copy: Path, edit: Edit) -> None:
    before = trilemma.load_results(finished_copy)
    edit(finished_copy, lambda record: [planned.pop("stage") for planned in evaluations(record)])
    pd.testing.assert_frame_equal(trilemma.load_results(finished_copy), before)
