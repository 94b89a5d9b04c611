"""What the tests of runs share: a small suite, runs with the plugins that misbehave, and how their models ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import trilemma
from trilemma.harness.execution.processes.forks import Zygote
from trilemma.harness.execution.processes.jobs import run_job
from trilemma.harness.execution.processes.supervisor import Ending, Supervisor
from trilemma.harness.planning.suite import Limits
from trilemma.harness.store.store import Store

if TYPE_CHECKING:
    import pandas as pd  # processes that import this module need none


def make_suite(*models: str, **more: Any) -> dict[str, Any]:
    """A suite of the named models on one small dataset."""
    return {
        "name": "test",
        "budget": {"steps": 20},
        "limits": {"seconds": 60, "memory_gib": 4},
        "datasets": [{"name": "ring8", "config": {"n_train": 500, "n_valid": 100, "n_test": 300}}],
        "models": [{"name": name} for name in models],
        "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
        **more,
    }


@pytest.fixture(scope="session")
def suite() -> Callable[..., dict[str, Any]]:
    """`make_suite`."""
    return make_suite


@pytest.fixture(scope="session")
def run(bad_plugins: Path) -> Callable[..., pd.DataFrame]:
    """Run a suite into a directory, two cells at a time."""
    return lambda values, out, **more: trilemma.run(values, out=out, plugins=[bad_plugins], jobs=2, **more)


@pytest.fixture(scope="session")
def outcomes() -> Callable[[pd.DataFrame], dict[str, str]]:
    """The worst outcome of each model."""

    def worst(frame: pd.DataFrame) -> dict[str, str]:
        rows = frame.groupby("label")["outcome"]
        return {str(label): next((o for o in group if o != "ok"), "ok") for label, group in rows}

    return worst


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A zygote for jobs that are run without a suite."""
    zygote = Zygote(1)
    yield zygote
    zygote.close()


def do_job(code: str, out: Path, zygote: Zygote, **limits: float) -> Ending:
    """Run a job whose process runs code, and return how it ended. Its log is `out/logs/j.log`."""
    with Store(out).writing():
        job = {"kind": "data", "id": "j", "dataset": {"name": "does", "config": {}}, "store": str(out), "threads": 1,
               "plugins": [str(Path(__file__).parent.with_name("job_plugins.py"))]}  # fmt: skip
        return run_job(
            Supervisor(zygote),
            out / "tmp" / "job-j",
            out / "logs" / "j.log",
            job,
            Limits(**{"seconds": 120, **limits}),
            env={"TRILEMMA_TEST_CODE": code},
        )


@pytest.fixture
def do(tmp_path: Path, zygote: Zygote) -> Callable[..., Ending]:
    """`do_job` in a directory of the test, with the shared zygote if it is given none."""
    return lambda code, zygote=zygote, **limits: do_job(code, tmp_path, zygote, **limits)


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="session")
def has_gone() -> Callable[[int], bool]:
    """`gone`."""
    return gone


@pytest.fixture(autouse=True)
def _light(light: None) -> None:
    """Without reports."""
