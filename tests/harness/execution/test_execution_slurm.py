"""Runs as jobs, with submitit's local executor: the same results, whatever happens to jobs and to the launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import trilemma
from trilemma.harness.api import finish, make_runner
from trilemma.harness.execution.slurm import campaign
from trilemma.harness.execution.slurm.launcher import SlurmRunner
from trilemma.harness.execution.slurm.packing import Bounds
from trilemma.harness.store.store import Store

pytest.importorskip("submitit")

Suites = Callable[..., dict[str, Any]]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]
PLUGINS = Path(__file__).with_name("job_plugins.py")
NO_TIMES = ["label", "seed", "sampler", "metric", "value", "ci_low", "ci_high", "floor", "n", "nfe", "outcome"]


def launch(values: Any, out: Path, cells: int = 9, **more: Any) -> tuple[SlurmRunner, pd.DataFrame]:
    """Run a suite as jobs on this machine, each with about that many cells (a new one is taken to last 12 s)."""
    options = {"executor": "slurm", "slurm": ["cluster=local"], "plugins": [PLUGINS], **more}
    runner = make_runner(values, out=out, **options)
    assert isinstance(runner, SlurmRunner)
    runner.bounds = Bounds(12.0 * cells, 12.5 * cells)
    runner.run()
    return runner, finish(runner)


def shell(values: dict[str, Any], out: Path, *more: str) -> list[str]:
    file = out.with_suffix(".json.toml")
    file.write_text(_toml(values))
    options = ["--executor", "slurm", "--slurm", "cluster=local", "--plugin", str(PLUGINS), *more]
    return [sys.executable, "-m", "trilemma", "run", str(file), "--out", str(out), *options]


def _toml(values: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {text(inner)}" for key, inner in value.items()) + "}"
        return "[" + ", ".join(map(text, value)) + "]" if isinstance(value, list) else json.dumps(value)

    return "\n".join(f"{key} = {text(value)}" for key, value in values.items())


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the models of job_plugins.py leave their notes."""
    monkeypatch.setenv("TRILEMMA_TEST_JOBS", str(tmp_path))
    yield tmp_path
    (tmp_path / "go").touch()  # no job waits on after a test that fails


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert file.exists()


def alive(out: Path) -> list[str]:
    """The command lines of living processes of jobs of a run."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if "submitit" in line and str(out) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.mark.reports
def test_jobs_give_what_a_local_run_gives(tmp_path: Path, tiny_suite: dict[str, Any], finished: Path) -> None:
    values = {**tiny_suite, "metrics": {**tiny_suite["metrics"], "sampling_time": {}}}
    values["timing"] = {"seconds": 1, "rounds": 1}
    out = tmp_path / "run"
    runner, frame = launch(values, out, cells=2)
    local = trilemma.load_results(finished)
    times = frame["metric"].str.contains("sampling_time|seconds")
    assert times.any()
    assert frame["outcome"].eq("ok").all()
    same = frame["metric"].isin(local["metric"])
    pd.testing.assert_frame_equal(
        frame[same][NO_TIMES].reset_index(drop=True), local[NO_TIMES].reset_index(drop=True), check_exact=True
    )
    models = sorted(finished.glob("cells/*/model.safetensors"))
    assert len(models) == 3
    assert all((out / model.relative_to(finished)).read_bytes() == model.read_bytes() for model in models)
    assert (out / "report.html").exists()
    assert not (out / "parts").exists()
    assert not runner.problems
    assert make_runner(values, out=out, plugins=[PLUGINS]).dry_run() == []


@pytest.mark.slow
def test_a_failing_cell_is_a_row_and_stored_models_are_evaluated_again(
    jobs: Path, suite: Suites, outcomes: Outcomes, bad_plugins: Path
) -> None:
    values, out = suite("gaussian", "raises"), jobs / "run"
    runner, frame = launch(values, out, cells=1, plugins=[bad_plugins])
    assert outcomes(frame) == {"gaussian": "ok", "raises": "error"}
    assert runner.failures == 1
    (trained,) = (record for file in out.glob("cells/*/record.json") if '"ok"' in (record := file.read_text()))
    values["metrics"]["wasserstein"]["n"] = 40
    values["models"].pop()
    _, again = launch(values, out)
    assert again[again["label"] == "gaussian"].set_index("metric").loc["w2", "n"] == 40
    assert trained in [file.read_text() for file in out.glob("cells/*/record.json")]


@pytest.mark.slow
def test_after_a_failure_that_ends_the_run_no_more_is_submitted(
    jobs: Path, suite: Suites, outcomes: Outcomes, bad_plugins: Path
) -> None:
    values, out = suite("raises", "gaussian", "kde"), jobs / "run"
    _, frame = launch(values, out, cells=1, plugins=[bad_plugins], max_jobs=1, max_failures=1)
    assert outcomes(frame) == {"raises": "error", "gaussian": "interrupted", "kde": "interrupted"}
    assert not (out / "parts").exists()
    _, frame = launch({**values, "models": values["models"][1:]}, out, cells=1, max_jobs=1)
    assert set(outcomes(frame[frame["selected"]]).values()) == {"ok"}


@pytest.mark.slow
def test_a_killed_job_is_sent_again_and_a_cell_that_no_job_survives_is_a_failure(
    jobs: Path, suite: Suites, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "RETRIES", 1)
    values = suite("plain", "once", "always", "gaussian")
    _, frame = launch(values, jobs / "run")
    assert outcomes(frame) == {"plain": "ok", "once": "ok", "always": "killed", "gaussian": "ok"}
    assert (jobs / "fits").read_text().split() == ["plain", "once"]
    assert (jobs / "kills").read_text().split() == ["once", "always", "always"]
    row = frame[frame["label"] == "always"].iloc[0]
    assert "ended as INTERRUPTED without a record of the cell, as 1 before it did" in row["message"]
    record = Store(jobs / "run").record("cells", row["cell"])
    assert record is not None
    assert "started always on ring8" in record["log_tail"]
    assert not (jobs / "run" / "parts").exists()


def test_a_launcher_that_was_killed_goes_on_with_what_its_jobs_did(
    jobs: Path, suite: Suites, outcomes: Outcomes
) -> None:
    values, out = suite("plain", "waits"), jobs / "run"
    launcher = subprocess.Popen(shell(values, out))
    try:
        wait_for(jobs / "waiting")
    finally:
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    assert alive(out)
    (jobs / "go").touch()
    _, frame = launch(values, out)
    assert outcomes(frame) == {"plain": "ok", "waits": "ok"}
    assert sorted((jobs / "fits").read_text().split()) == ["plain", "waits"]
    assert not (out / "parts").exists()


@pytest.mark.slow
def test_after_ctrl_c_the_jobs_go_on_until_they_are_cancelled(jobs: Path, suite: Suites, outcomes: Outcomes) -> None:
    values, out = suite("plain", "waits"), jobs / "run"
    launcher = subprocess.Popen(shell(values, out), stderr=subprocess.PIPE, text=True)
    wait_for(jobs / "waiting")
    second = make_runner(values, out=out, executor="slurm", slurm=["cluster=local"], plugins=[PLUGINS])
    with pytest.raises(trilemma.StoreError, match="another run is using"):
        second.run()
    os.kill(launcher.pid, signal.SIGINT)
    _, errors = launcher.communicate(timeout=120)
    assert launcher.returncode == 130
    assert "1 job goes on" in errors
    assert alive(out)
    _, frame = launch(values, out, cancel=True)
    assert outcomes(frame) == {"plain": "ok", "waits": "interrupted"}
    assert not alive(out)
    assert (jobs / "fits").read_text() == "plain\n"
    assert not (out / "parts").exists()
