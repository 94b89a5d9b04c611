"""The process that cells are forked from has loaded what they need, and has no threads when it forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trilemma.harness.api import make_runner
from trilemma.harness.execution.processes import forks
from trilemma.harness.planning.cell import cell_job
from trilemma.harness.store.store import Store

CODE = """
import os, sys
from trilemma.harness.execution.processes.preload import essentials, for_job
essentials()
for_job(sys.argv[1])
threads, loaded = len(os.listdir("/proc/self/task")), set(sys.modules)
from trilemma.harness.execution.worker import work
work(sys.argv[1])
import torch
from trilemma.harness.execution.stages import global_seed
with global_seed(torch.device("cpu"), 0):  # as in the training of a cell
    pass
print(threads, *sorted(set(sys.modules) - loaded))
"""


def run_job(tmp_path: Path, **job: Any) -> tuple[str, set[str]]:
    """Do a job in a process that has loaded what it needs: the number of threads before it, and what it loaded."""
    with Store(tmp_path).writing():
        pass
    options = {"n_train": 20, "n_valid": 20, "n_test": 20}
    job = {"dataset": {"name": "moons", "config": options}, "store": str(tmp_path), "threads": 1, "plugins": [],
           "events": str(tmp_path / "events"), "device": "cpu", **job}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-c", CODE, str(tmp_path / "job.json")]
    env = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}}
    threads, *loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    return threads, set(loaded)


def test_a_job_loads_no_library_that_every_job_needs(tmp_path: Path) -> None:
    """Nor a part of one, such as numpy.random."""
    threads, loaded = run_job(tmp_path, kind="data", id="d")
    assert threads == "1"
    assert not {"torch", "numpy", "scipy", "sklearn", "ot", "pydantic"} & {name.split(".")[0] for name in loaded}
    assert Store(tmp_path).record("data", "d") is not None


@pytest.mark.slow
def test_a_cell_loads_no_module_that_the_process_before_it_could_load(tmp_path: Path) -> None:
    suite = {"name": "one", "budget": {"steps": 2}, "models": [{"name": "realnvp"}],
             "datasets": [{"name": "moons", "config": {"n_train": 20, "n_valid": 20, "n_test": 20}}],
             "metrics": {"nll": {"n": 20}, "wasserstein": {"n": 20, "draws": 2}}}  # fmt: skip
    runner = make_runner(suite, out=tmp_path / "run")
    runner.run()
    (cell,) = runner.plan(runner._supervisor())
    evaluations = [asdict(planned) for planned in cell.evaluated]
    threads, loaded = run_job(
        tmp_path / "again", kind="cell", **cell_job(cell), train=True, replay=None, evaluations=evaluations
    )
    # pandas loads pyarrow where that is installed, and pyarrow starts a thread of its own.
    assert int(threads) == 1 + (find_spec("pyarrow") is not None)
    assert {name for name in loaded if not name.startswith("torch._")} == set()
    assert Store(tmp_path / "again").record("cells", cell.id)["outcome"] == "ok"


def test_one_that_was_begun_and_not_told_lets_others_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run for which it was begun may have been refused."""
    monkeypatch.setattr(forks, "_turns", threading.BoundedSemaphore(1))
    monkeypatch.setattr(forks, "UNTOLD_SECONDS", 0.1)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    zygotes = [forks.Zygote(python=str(python)) for _ in range(2)]
    try:
        first, second = (zygote.begin() for zygote in zygotes)
        limit = time.monotonic() + 20
        while (first.pid is None or second.pid is None) and time.monotonic() < limit:
            time.sleep(0.05)
        assert first.pid is not None
        assert second.pid is not None
    finally:
        for zygote in zygotes:
            zygote.close()
