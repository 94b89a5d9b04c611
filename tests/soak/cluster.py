"""A Dask cluster of processes, which the soak kills one by one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

WORKERS = 3


class Cluster(dict[str, list[psutil.Process]]):
    """The processes of a cluster: `scheduler` and `worker`. As a context, it ends with everything that it started."""

    def __init__(self, env: dict[str, str] | None, folder: Path) -> None:
        self._env, self._file = env, folder / "scheduler.json"
        self.address = ""

    @staticmethod
    @contextlib.contextmanager
    def none() -> Iterator[Cluster]:
        """No cluster."""
        yield Cluster(None, Path())

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def start(self) -> None:
        """Start what is not running: all, if the scheduler has ended."""
        if self._env is None:
            return
        if not any(process.is_running() for process in self.get("scheduler", ())):
            self._stop()
            self._file.unlink(missing_ok=True)
            self["scheduler"] = [self._launch("scheduler", "--port", "0", "--no-dashboard")]
            while not self._file.exists():
                time.sleep(0.1)
            self.address = json.loads(self._file.read_text())["address"]
        workers = [process for process in self.get("worker", ()) if process.is_running()]
        while len(workers) < WORKERS:
            options = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny")
            workers.append(self._launch("worker", *options))
        self["worker"] = workers

    def _launch(self, which: str, *options: str) -> psutil.Popen:
        command = [sys.executable, "-m", "dask", which, "--scheduler-file", str(self._file), *options]
        with self._file.with_name("cluster").open("ab") as output:
            return psutil.Popen(command, stdout=output, stderr=output, env=self._env)

    def _stop(self) -> None:
        for process in [*self.get("worker", ()), *self.get("scheduler", ())]:
            with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
                process.kill()
                process.wait(10)
        self.clear()
