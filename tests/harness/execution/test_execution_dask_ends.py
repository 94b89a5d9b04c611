"""How a run on a Dask cluster ends early or is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.run import Runner

distributed = pytest.importorskip("distributed")

from trilemma.harness.execution.on_dask import cluster as connection  # noqa: E402
from trilemma.harness.execution.on_dask import hosts  # noqa: E402
from trilemma.harness.execution.on_dask.cluster import DaskOptions  # noqa: E402
from trilemma.harness.execution.on_dask.executor import DaskExecutor  # noqa: E402

Suites = Callable[..., dict[str, Any]]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]
Command = Callable[..., Result]

PLUGINS = Path(__file__).with_name("dask_plugins.py")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster with one worker of two threads."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, memory_limit=0, dashboard_address="127.0.0.1:0"
    ) as started:
        yield started.scheduler_address


def waiting(suite: Suites, out: Path, address: str | None) -> Runner:
    """A runner of one cell that ends and one that waits."""
    runner = make_runner(suite("gaussian", "waits"), out=out, plugins=[PLUGINS], jobs=2)
    runner.engine = partial(DaskExecutor, options=DaskOptions(address))
    return runner


def when_it_waits(out: Path, then: Callable[[], None]) -> threading.Thread:
    """Do something as soon as the cell waits and the other one has ended."""

    def watch() -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            logs = [log.read_text() for log in out.glob("logs/*.log")]
            if any("waiting" in log for log in logs) and list(out.glob("evaluations/*")):
                break
            time.sleep(0.05)
        time.sleep(0.5)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def open_logs(out: Path) -> list[str]:
    """The cells that still run: processes that have a log open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if os.readlink(link).startswith(str(out)):
                found.append(str(link))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_ctrl_c_ends_the_cells_on_the_workers(tmp_path: Path, suite: Suites, outcomes: Outcomes, address: str) -> None:
    runner = waiting(suite, tmp_path, address)
    user = when_it_waits(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT))
    runner.run()
    user.join()
    assert runner.interrupted
    assert outcomes(trilemma.load_results(tmp_path)) == {"gaussian": "ok", "waits": "interrupted"}
    assert not open_logs(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.slow
def test_a_run_ends_when_its_scheduler_does(tmp_path: Path, suite: Suites, outcomes: Outcomes) -> None:
    runner = waiting(suite, tmp_path, None)
    said: list[str] = []
    runner.progress.message = said.append  # type: ignore[method-assign]

    def end_the_scheduler() -> None:
        for child in psutil.Process().children():
            if "trilemma.harness.execution.on_dask.node" in child.cmdline():
                child.kill()

    user = when_it_waits(tmp_path, end_the_scheduler)
    runner.run()
    user.join()
    assert runner.interrupted
    assert any("has ended; finished cells are kept" in text for text in said)
    assert outcomes(trilemma.load_results(tmp_path)) == {"gaussian": "ok", "waits": "interrupted"}
    deadline = time.monotonic() + 20
    while open_logs(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not open_logs(tmp_path)


@pytest.mark.slow
def test_cells_on_workers_end_with_the_parent(tmp_path: Path, suite: Suites, address: str) -> None:
    file, out = tmp_path / "suite.json", tmp_path / "out"
    file.write_text(json.dumps(suite("gaussian", "waits")))
    code = (
        "import json, sys, trilemma; suite, out, plugin, address = sys.argv[1:]; "
        "trilemma.run(json.load(open(suite)), out=out, plugins=[plugin], executor='dask', scheduler_address=address)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file), str(out), str(PLUGINS), address])
    when_it_waits(out, process.kill).join()
    assert process.wait(timeout=60) == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while open_logs(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not open_logs(out)


# What is refused, before anything runs


def refused(command: Command, tiny_file: Path, out: Path, *arguments: object) -> str:
    """The message of a run that is refused."""
    result = command("run", tiny_file, "--out", out, "--executor", "dask", *arguments)
    assert result.exit_code == 2, result.output
    assert not (out / "run.json").exists()
    return " ".join(result.output.split())


def test_without_the_extra_the_message_says_what_to_install(
    tmp_path: Path, command: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'trilemma[dask]'" in refused(command, tiny_file, tmp_path / "out")


def test_options_of_dask_need_dask(command: Command, tiny_file: Path) -> None:
    result = command("run", tiny_file, "--scheduler-address", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "--scheduler-address needs --executor dask" in result.output


def test_a_wrong_address_is_refused(
    tmp_path: Path, command: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    out = tmp_path / "out"
    said = refused(command, tiny_file, out, "--scheduler-address", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answered at tcp://127.0.0.1:9" in said
    said = refused(command, tiny_file, out, "--scheduler-address", "nonsense://x")
    assert "no Dask scheduler answered at nonsense://x" in said


def test_a_wrong_scheduler_file_is_refused(tmp_path: Path, command: Command, tiny_file: Path) -> None:
    file, out = tmp_path / "scheduler.json", tmp_path / "out"
    assert "there is no scheduler file" in refused(command, tiny_file, out, "--scheduler-file", file)
    file.write_text("{}")
    assert "cannot be read: KeyError" in refused(command, tiny_file, out, "--scheduler-file", file)


def test_a_cluster_without_workers_is_given_up(tmp_path: Path, command: Command, tiny_file: Path) -> None:
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": empty.scheduler_address}))
        said = refused(command, tiny_file, tmp_path / "out", "--scheduler-file", file, "--worker-wait", 1)
    assert "for 1 s: it has no workers" in said


def test_workers_with_other_versions_are_refused(
    tmp_path: Path, command: Command, tiny_file: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = hosts.installation()
    monkeypatch.setattr(hosts, "installation", lambda: {**here, "torch": "9.9", "source": "other"})
    said = refused(command, tiny_file, tmp_path / "out", "--scheduler-address", address)
    assert "the source code of trilemma is" in said
    assert "and 9.9 here" in said


def test_workers_without_a_gpu_are_refused(tmp_path: Path, command: Command, tiny_file: Path, address: str) -> None:
    said = refused(command, tiny_file, tmp_path / "out", "--device", "cuda", "--scheduler-address", address)
    assert "offers no GPU" in said
