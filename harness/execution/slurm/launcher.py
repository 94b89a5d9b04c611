"""The runner of a suite on a cluster: it plans, sends parts as jobs, merges what they did, and writes the report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...planning.cell import Cell
from ...store.claim import PARTS
from ..environment import visible_gpus
from ..interrupts import stop_on_signals
from ..outcomes import failure
from ..processes.supervisor import Supervisor
from ..progress import Todo
from ..recording import recorded
from ..run import Runner
from .campaign import CHANCE_SECONDS, Campaign
from .cluster import Cluster, State, jobs_folder
from .packing import Bounds
from .parts import Part, remove_parts

WORDS = {"TIMEOUT": "timeout", "OUT_OF_MEMORY": "out-of-memory"}
"""Outcomes by the state of the job; for others it is `killed`."""


@dataclass
class SlurmRunner(Runner):
    """Runs one resolved suite as jobs of a cluster, into one directory, which all nodes see.

    `slurm` are options of submitit; `max_jobs` jobs run at a time, each with `jobs` cells at a time. With `cancel`, the
    jobs of an earlier call are ended, and what they finished is kept. Raises TrilemmaError if there is no cluster.
    """

    slurm: Mapping[str, Any] = field(default_factory=dict)
    max_jobs: int = 16
    cancel: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    """How long a job should take."""
    environments: Mapping[str, str] = field(default_factory=dict)
    """The plugins with a Python environment of their own, each with its interpreter, which all nodes see."""

    def __post_init__(self) -> None:
        kind = self.device.partition(":")[0]
        if kind != "cuda":
            visible_gpus(self.device)  # raises for a device that does not exist
        self.jobs = self.jobs or 1
        self.device = "cpu"  # the launcher needs no GPU
        super().__post_init__()
        self.device = kind  # the cluster says which GPU
        self.cluster = Cluster(jobs_folder(self.store.path / PARTS), self.slurm)

    def run(self) -> list[Todo]:
        """Run what is missing in jobs, and return what was missing. Sets `interrupted` after Ctrl-C or SIGTERM.

        Each job measures the times of its cells on its own node. Raises TrilemmaError if the run cannot start, or if
        the cluster refuses the jobs.
        """
        supervisor = self._supervisor()
        with self.store.writing(), recorded(self), self._signals(supervisor):
            cells = self.plan(supervisor)
            todo = self.todo(cells)
            if self.interrupted:
                return todo
            self._write_run(cells)
            self.progress.started(todo, len(cells))
            self._announce(cells, todo)
            self._send(supervisor, cells, self._with_data(todo))
            return todo

    def _send(self, supervisor: Supervisor, cells: list[Cell], todo: list[Todo]) -> None:
        campaign = Campaign(self, supervisor.stop, supervisor.kill, cells, todo)
        if campaign.run():
            remove_parts(self.store)
        elif campaign.active:
            count = len(campaign.active)
            self.progress.message(
                f"{count} job{'s go' if count > 1 else ' goes'} on; the same command again waits for them and merges "
                "what they did, and with --cancel it ends them"
            )
        if self.gave_up:
            self.progress.message(f"{self.failures} failed, so no more cells were started; the same command goes on")

    def needs(self, minutes: int) -> dict[str, Any]:
        """What a job needs, as parameters of submitit."""
        jobs = self.jobs or 1
        needs: dict[str, Any] = {
            "timeout_min": minutes,
            "cpus_per_task": jobs * self.threads,
            "mem_gb": round(self.resolved.suite.limits.memory_gib * jobs + 2, 3),  # 2 for what starts the cells
        }
        return needs | ({} if self.device == "cpu" else {"gpus_per_node": jobs})

    def part_spec(self) -> dict[str, Any]:
        """What every job has to know."""
        return {
            "suite": self.resolved.suite.model_dump(mode="json", exclude_unset=True),
            "plugins": list(self.plugin_files),
            "environments": dict(self.environments),
            "device": self.device,
            "jobs": self.jobs,
            "threads": self.threads,
            "download": self.download,
            "max_failures": self.max_failures,
        }

    def _signals(self, supervisor: Supervisor) -> contextlib.AbstractContextManager[None]:
        def stopping() -> None:
            self.interrupted = True
            second = supervisor.kill.is_set()
            self.progress.message(
                "cancelling the jobs; finished cells are kept"
                if second
                else f"leaving in {CHANCE_SECONDS:.0f} s, while the jobs go on; press Ctrl-C again to cancel them"
            )

        return stop_on_signals(supervisor, stopping)

    # What the campaign reports

    def shown(self, todo: Todo, outcome: dict[str, Any]) -> None:
        """Show that a cell has ended in its job."""
        if todo.in_cell:
            self.progress.cell_finished(todo.cell, outcome)

    def ended(self, todo: Todo, outcome: dict[str, Any]) -> None:
        """Take note of a cell whose results are merged."""
        self.failures += outcome["outcome"] not in ("ok", "unsupported")
        self._observe("cell_finished", lambda: {"cell": todo.cell.describe(), "outcome": outcome})

    def lost(self, todo: Todo, part: Part, state: State, attempts: int) -> dict[str, Any]:
        """Record what no job could finish. Returns the outcome."""
        job = f"{self.cluster.name} job {(part.job or {}).get('id', '')}".strip()
        before = f", as {attempts} before it did" if attempts else ""
        what = "of the cell" if todo.train else "of its evaluations" if todo.in_cell else "of its times"
        word = part.ending or state.word or "unknown"
        message = f"its {job} ended as {word} without a record {what}{before}"
        tail = self.store.log_tail(todo.cell.id, 5) + "\n" + self.cluster.log_tail(part)
        outcome = failure(WORDS.get(word, "killed"), "job", 0.0, message, tail.strip())
        if todo.in_cell:
            self._record_failure(todo, outcome)
        else:
            self.problems.append(f"{todo.cell.label}: {message}")
        return outcome

    def describe_jobs(self, running: int, pending: int, left: float) -> None:
        """Show the jobs, and the seconds until all cells have ended."""
        self.progress.jobs(running, pending)
        self.progress.remaining(left)

    @staticmethod
    def part_names(count: int) -> list[str]:
        """Names of parts, which no part had before."""
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}"
        return [f"{stamp}-{number:04d}" for number in range(count)]
