"""The process that cells are forked from has loaded what they need, and has no threads when it forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from trilemma.harness.store.store import Store

CODE = """
import os, sys
from trilemma.harness.execution.zygote import _preload
_preload()
threads, loaded = len(os.listdir("/proc/self/task")), set(sys.modules)
from trilemma.harness.execution.worker import work
work(sys.argv[1])
print(threads, *sorted({name.split(".")[0] for name in set(sys.modules) - loaded}))
"""


def test_a_job_loads_no_library_that_every_job_needs(tmp_path: Path) -> None:
    with Store(tmp_path).writing():
        pass
    options = {"n_train": 20, "n_valid": 20, "n_test": 20}
    job = {"kind": "data", "id": "d", "dataset": {"name": "moons", "config": options}, "store": str(tmp_path),
           "threads": 1, "plugins": [], "events": str(tmp_path / "events")}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-c", CODE, str(tmp_path / "job.json")]
    env = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}}
    threads, *loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert threads == "1"
    assert not {"torch", "numpy", "scipy", "sklearn", "ot", "pydantic"} & set(loaded)
    assert Store(tmp_path).record("data", "d") is not None
