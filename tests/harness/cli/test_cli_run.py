"""`trilemma run` and `results`: exit codes, data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.cli.output import frame_records

Command = Callable[..., Result]


def test_a_wrong_suite_exits_2_and_lists_every_mistake(tmp_path: Path, command: Command, tiny: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(tiny.replace("steps = 5", "stops = 5").replace("gaussian", "gausian").replace("draws", "draw"))
    result = command("run", file, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stdout == ""
    for expected in ("wrong.toml:3", "wrong.toml:5", "wrong.toml:6", "did you mean 'gaussian'", "did you mean 'draws'"):
        assert expected in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_prints_a_table_and_writes_the_report(finished_copy: Path, command: Command, tiny_file: Path) -> None:
    result = command("run", tiny_file, "--out", finished_copy)
    assert result.exit_code == 0
    for expected in ("ring8", "realnvp(transforms=2)", "realnvp(transforms=3)", "gaussian"):
        assert expected in result.stdout
    assert {"report.html", "report.md", "results.csv", "run.json"} <= {file.name for file in finished_copy.iterdir()}


@pytest.mark.usefixtures("undrawn")
def test_json_on_standard_output_is_strict(finished_copy: Path, command: Command, tiny_file: Path) -> None:
    result = command("run", tiny_file, "--out", finished_copy, "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    record = json.loads(result.stdout, parse_constant=refuse)
    assert record["cells"] == 3
    assert record["outcomes"] == {"ok": 3}
    assert {row["metric"] for row in record["results"]} >= {"nll", "w2"}


def test_dry_run_says_what_and_why_and_leaves_no_trace(
    tmp_path: Path, finished: Path, command: Command, tiny_file: Path
) -> None:
    result = command("run", tiny_file, "--out", tmp_path / "none", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.count("train and evaluate: new") == 3
    assert "  samplers: direct\n" in result.stdout
    assert re.search(
        r"budget of each training: 5 steps; seeds: 0; about \d+ (?:s|min) with \d+ cells? at a time", result.stderr
    )
    assert not (tmp_path / "none").exists()
    again = command("run", tiny_file, "--out", finished, "--dry-run", "--set", "metrics.nll.n=60")
    assert again.stdout.count("evaluate (1): new evaluations") == 3
    plan = json.loads(command("run", tiny_file, "--dry-run", "--json", "--out", tmp_path / "x").stdout)
    assert [item["train"] for item in plan] == [True] * 3
    assert [(item["budget"], item["samplers"]) for item in plan] == [({"steps": 5}, ["direct"])] * 3


def test_a_dry_run_names_the_timings(tmp_path: Path, finished: Path, command: Command, tiny_file: Path) -> None:
    options = ("--dry-run", "--set", "metrics.sampling_time={}")
    again = command("run", tiny_file, "--out", finished, *options)
    assert again.stdout.count("time: new timings\n  to be timed after all cells: direct\n") == 3
    assert "0 of 3 cells to run, 3 sampler settings to time" in again.stderr
    plan = json.loads(command("run", tiny_file, "--json", "--out", tmp_path / "x", *options).stdout)
    assert [(item["train"], item["timings"]) for item in plan] == [(True, ["direct"])] * 3


@pytest.mark.usefixtures("undrawn")
def test_a_failed_cell_exits_1(tmp_path: Path, command: Command, bad_plugins: Path) -> None:
    options = ("--models", "well,raises", "--plugin", bad_plugins, "--set", "metrics={nll={n=50}}")
    result = command("run", "smoke", "--out", tmp_path, *options)
    assert result.exit_code == 1
    assert "no <b>luck</b> today" in result.stderr
    assert "raises" in result.stdout
    page = (tmp_path / "report.html").read_text()
    assert "no &lt;b&gt;luck&lt;/b&gt; today" in page
    assert "<b>luck" not in page


@pytest.mark.parametrize("form", ["csv", "json", "md"])
def test_results_in_each_format(form: str, finished: Path, command: Command) -> None:
    result = command("results", finished, "--format", form, "--metric", "nll")
    assert result.exit_code == 0
    frame = trilemma.load_results(finished)
    values = frame.loc[frame["metric"] == "nll", "value"]
    assert len(values) == 3
    for value in values:
        assert f"{value:.5g}"[:-1] in result.stdout
    if form == "json":
        assert len(json.loads(result.stdout)) == 3
    if form == "md":
        assert all(line.startswith("| ") for line in result.stdout.strip().splitlines())


def test_results_hold_no_drawings() -> None:
    frame = pd.DataFrame({"config": ["{}"], "details": [json.dumps({"draws": 3, "map": {"x": [1.0, 2.0]}})]})
    assert frame_records(frame) == [{"config": {}, "details": {"draws": 3}}]


def test_results_of_a_metric_are_all_its_numbers(finished: Path, command: Command) -> None:
    shown = json.loads(command("results", finished, "--format", "json", "--metric", "wasserstein").stdout)
    assert {row["metric"] for row in shown} >= {"w2", "w2_excess"}
    assert {row["computed_by"] for row in shown} == {"wasserstein"}
    result = command("results", finished, "--metric", "w2_exces")
    assert result.exit_code == 2
    assert "there are no results of a metric 'w2_exces' here (did you mean 'w2_excess'?)" in result.stderr


def test_an_unknown_suite_and_metric_have_suggestions(tiny_file: Path, command: Command) -> None:
    assert "did you mean 'quick'?" in command("run", "quik").stderr
    result = command("run", tiny_file, "--set", "metrics.w2_excess={}")
    assert "no metric named 'w2_excess'; it is a number of the metric 'wasserstein'" in result.stderr


def test_results_of_nothing_is_an_error_that_says_what_to_do(tmp_path: Path, command: Command) -> None:
    result = command("results", tmp_path)
    assert result.exit_code == 2
    assert "holds no run" in result.stderr
    assert f"trilemma run --out {tmp_path}" in result.stderr
