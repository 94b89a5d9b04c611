"""Cells on a Dask cluster: the same results as on this machine, and what becomes of cells whose worker is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.api import finish, make_runner
from trilemma.harness.execution.resume import resumable_step
from trilemma.harness.execution.run import Runner
from trilemma.harness.store.store import Store

distributed = pytest.importorskip("distributed")

from trilemma.harness.execution.on_dask.cluster import DaskOptions  # noqa: E402
from trilemma.harness.execution.on_dask.executor import DaskExecutor  # noqa: E402

Suites = Callable[..., dict[str, Any]]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]
Run = Callable[..., pd.DataFrame]
PATIENT = Path(__file__).parents[1] / "patient_plugins.py"
SHARES = [pytest.param(True, id="shared", marks=pytest.mark.slow), pytest.param(False, id="not shared")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of the user: two workers, each with one thread."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address="127.0.0.1:0"
    ) as started:
        yield started


@pytest.fixture
def on_dask(cluster: Any, bad_plugins: Path) -> Run:
    """Run a suite on the cluster into a directory; with `share` false, as if its workers did not see the directory."""

    def run(values: dict[str, Any], out: Path, *, share: bool = True, **more: Any) -> pd.DataFrame:
        ours = Path(__file__).with_name("dask_plugins.py")
        runner = make_runner(values, out=out, plugins=[bad_plugins, ours], **more)
        runner.engine = partial(DaskExecutor, options=DaskOptions(cluster.scheduler_address), share=share)
        runner.run()
        return finish(runner)

    return run


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame without the time that things took."""
    keys = ["cell", "evaluation", "metric", "likelihood"]
    return frame.drop(columns="elapsed").sort_values(keys).reset_index(drop=True)


def checkpoints(out: Path) -> dict[str, bytes]:
    """The stored models of a run, byte for byte."""
    return {file.parent.name: file.read_bytes() for file in out.glob("cells/*/model.safetensors")}


@pytest.mark.parametrize("share", SHARES)
def test_the_results_are_those_of_this_machine(
    tmp_path: Path, finished: Path, tiny_suite: dict[str, Any], on_dask: Run, share: bool
) -> None:
    frame = on_dask(tiny_suite, tmp_path, share=share)
    pd.testing.assert_frame_equal(comparable(frame), comparable(trilemma.load_results(finished)))
    assert checkpoints(tmp_path) == checkpoints(finished)
    assert not list((tmp_path / "tmp").iterdir())
    logs = {file.name for file in (finished / "logs").iterdir()}
    assert logs == {file.name for file in (tmp_path / "logs").iterdir()}


def test_stored_models_are_evaluated_by_workers_that_do_not_see_them(
    finished_copy: Path, tiny_suite: dict[str, Any], on_dask: Run
) -> None:
    before = checkpoints(finished_copy)
    tiny_suite["metrics"]["nll"]["n"] = 60
    frame = on_dask(tiny_suite, finished_copy, share=False)
    assert set(frame["outcome"]) == {"ok"}
    assert set(frame.loc[frame["metric"] == "nll", "n"]) == {60}
    assert checkpoints(finished_copy) == before


@pytest.mark.parametrize("share", SHARES)
def test_failures_are_reported_as_on_this_machine(
    tmp_path: Path, suite: Suites, outcomes: Outcomes, on_dask: Run, share: bool
) -> None:
    values = suite("well", "raises", "exits", "killed-late", "images-only")
    frame = on_dask(values, tmp_path, share=share)
    assert outcomes(frame) == {
        "well": "ok",
        "raises": "error",
        "exits": "error",
        "killed-late": "killed",
        "images-only": "unsupported",
    }
    raised = frame[frame["label"] == "raises"].iloc[0]
    assert "no <b>luck</b> today" in raised["message"]
    assert "no <b>luck</b> today" in Store(tmp_path).log_tail(raised["cell"])
    failed = Store(tmp_path).record("cells", frame[frame["label"] == "exits"].iloc[0]["cell"])
    assert failed is not None
    assert failed["environment"]["cpu"]


def test_a_cell_whose_worker_is_killed_runs_again(
    tmp_path: Path, suite: Suites, outcomes: Outcomes, on_dask: Run
) -> None:
    counts = tmp_path / "counts"
    values = suite("well", "gaussian")
    values["models"].append({"name": "ends-its-worker", "config": {"counts": str(counts), "kills": 1}})
    values["metrics"] = {"wasserstein": {"n": 50, "draws": 2}}
    frame = on_dask(values, tmp_path / "out")
    assert set(outcomes(frame).values()) == {"ok"}
    assert counts.read_text() == "xx"


@pytest.mark.slow
def test_a_cell_that_ends_its_worker_again_and_again_is_given_up(
    tmp_path: Path, suite: Suites, outcomes: Outcomes, on_dask: Run
) -> None:
    counts = tmp_path / "counts"
    values = suite("well", "gaussian")
    values["models"].insert(0, {"name": "ends-its-worker", "config": {"counts": str(counts), "kills": 99}})
    frame = on_dask(values, tmp_path / "out")
    hostile = frame[frame["model"] == "ends-its-worker"].iloc[0]
    assert hostile["outcome"] == "killed"
    assert "the worker that ran it was lost 3 times" in hostile["message"]
    assert counts.read_text() == "xxx"
    assert {label: outcomes(frame)[label] for label in ("well", "gaussian")} == {"well": "ok", "gaussian": "ok"}


@pytest.mark.slow
def test_an_interrupted_training_goes_on_on_a_worker_that_does_not_see_the_directory(
    tmp_path: Path, suite: Suites, cluster: Any
) -> None:
    values = suite("patient", metrics={"wasserstein": {"n": 50, "draws": 2}})
    trilemma.run(values, out=tmp_path / "whole", plugins=[PATIENT])

    def runner() -> Runner:
        made = make_runner(values, out=tmp_path / "run", plugins=[PATIENT])
        made.engine = partial(DaskExecutor, options=DaskOptions(cluster.scheduler_address), share=False)
        made._env = {"TRILEMMA_TEST_PATIENT": str(tmp_path)}
        return made

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "held").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    (tmp_path / "hold").touch()
    user = threading.Thread(target=interrupt)
    user.start()
    first = runner()
    first.run()
    user.join()
    assert first.interrupted
    (tmp_path / "hold").unlink()
    (cell,) = first.store.run()["cells"]
    step = resumable_step(first.store, cell["id"], None)
    assert step is not None
    runner().run()
    assert (Store(tmp_path / "run").record("cells", cell["id"]) or {})["resumed"] == [step]
    assert checkpoints(tmp_path / "run") == checkpoints(tmp_path / "whole")
    assert not list((tmp_path / "run" / "partial").iterdir())
