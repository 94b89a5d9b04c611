"""How a run is stopped or refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.processes import supervisor
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Suites = Callable[..., Suite]
Run = Callable[..., pd.DataFrame]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]


def test_a_directory_in_use_is_refused(tmp_path: Path, suite: Suites, run: Run) -> None:
    with (
        Store(tmp_path).writing(),
        pytest.raises(trilemma.StoreError, match="another run is using"),
    ):
        run(suite("well"), tmp_path)


def test_an_unknown_device_is_refused_before_anything_runs(tmp_path: Path, suite: Suites, run: Run) -> None:
    with pytest.raises(trilemma.TrilemmaError, match="no device 'tpu'"):
        run(suite("well"), tmp_path / "out", device="tpu")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_stops_cleanly_and_keeps_finished_cells(tmp_path: Path, outcomes: Outcomes, bad_plugins: Path) -> None:
    file, out = tmp_path / "suite.toml", tmp_path / "out"
    file.write_text(
        'name = "slow"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
        'models = [{ name = "well" }, { name = "slow" }]\n'
    )
    command = [sys.executable, "-m", "trilemma", "run", file, "--plugin", bad_plugins, "--out", out, "-j", "1"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_until_it_fits("slow", out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert outcomes(trilemma.load_results(out)) == {"well": "ok", "slow": "interrupted"}
    assert (out / "report.html").exists()
    assert not _processes_of(out)


@pytest.mark.slow
def test_ctrl_c_while_a_dataset_loads_is_an_interrupted_run(tmp_path: Path) -> None:
    plugin, started = tmp_path / "late.py", tmp_path / "started"
    plugin.write_text(
        f"""
import pathlib, time, trilemma
class Late(trilemma.Dataset):
    "Loads for ever."
    name, title, source, license = "late", "Late", "drawn", "MIT"
    def load(self):
        pathlib.Path({str(started)!r}).touch()
        time.sleep(1000)
@trilemma.hookimpl
def trilemma_datasets(): return [Late]
"""
    )
    command = [sys.executable, "-m", "trilemma", "run", "smoke", "--datasets", "late", "--plugin", plugin, "--out"]
    command.append(tmp_path / "out")
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted before a cell was started" in errors
    assert "no run" not in errors
    assert not _processes_of(tmp_path / "out")


def test_a_second_ctrl_c_stops_at_once_what_ignores_the_first(
    tmp_path: Path, suite: Suites, outcomes: Outcomes, bad_plugins: Path
) -> None:
    runner = make_runner(suite("well", "sleeps"), out=tmp_path, plugins=[bad_plugins], jobs=1)
    sent = []

    def press_twice() -> None:
        _wait_until_it_fits("sleeps", tmp_path)
        for _ in range(2):
            time.sleep(0.5)  # in the first it comes to ignore TERM
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=press_twice)
    user.start()
    try:
        runner.run()
    except KeyboardInterrupt:
        pytest.fail("the run did not take the signal for itself")
    took = time.monotonic() - sent[-1]
    user.join()
    assert len(sent) == 2, "the process ended after the first"
    assert took < supervisor.GRACE_SECONDS - 1
    assert runner.interrupted
    assert outcomes(trilemma.load_results(tmp_path)) == {"well": "ok", "sleeps": "interrupted"}
    assert not _processes_of(tmp_path)


@pytest.mark.slow
def test_sigterm_ends_a_run_whose_zygote_is_stopped(tmp_path: Path, bad_plugins: Path) -> None:
    file, out = tmp_path / "suite.toml", tmp_path / "out"
    file.write_text(
        'name = "slow"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\nmodels = [{ name = "sleeps" }]\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
    )
    command = [sys.executable, "-m", "trilemma", "run", file, "--plugin", bad_plugins, "--out", out, "-j", "1"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_until_it_fits("sleeps", out)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(_processes_of(out)) == 1
    family[0].suspend()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def _wait_until_it_fits(model: str, out: Path) -> None:
    """Wait until the cell of a model is in its fit, for at most 90 seconds."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for events in out.glob("tmp/job-*/events.jsonl"):
            with contextlib.suppress(FileNotFoundError):  # the cell has ended meanwhile
                job = json.loads(events.with_name("job.json").read_text())
                if job.get("model", {}).get("name") == model and '"fit"' in events.read_text():
                    return
        time.sleep(0.05)


def _processes_of(out: Path) -> list[psutil.Process]:
    """The processes of the cells of a run that still live: each has the file of its events open."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(file.path.startswith(f"{out}/tmp/") for file in process.open_files()):
                found.append(process)
    return found
