"""What a job does on its node: a run of the cells of its part, by the rules of every run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from ...errors import TrilemmaError
from ...planning.cell import Cell, data_id
from ...planning.elsewhere import ask_interpreters
from ...planning.resolve import resolve
from ...planning.suite import read_document
from ...plugins import Registry
from ...store.store import Store
from ..processes.supervisor import Supervisor
from ..progress import Silent, Todo
from ..run import Runner
from .parts import Part


def run_part(folder: str, cluster: str) -> None:
    """Run the part in `folder`. It is called by submitit, which has read its argument, a path, from its own file.

    A part that has been merged and removed, or is to stop, ends at once. What the job did is in the part, and nothing
    is returned.
    """
    ending = ["TERMINATED"]

    def as_term(number: int, frame: FrameType | None) -> None:
        ending[0] = "TIMEOUT"
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, _leave)  # until the run has begun, there is nothing to stop
    signal.signal(signal.SIGUSR2, as_term)  # submitit lets Slurm send it before the time limit
    part = Part(Path(folder))
    if not (part.folder / "part.json").exists() or part.stopping:
        print(f"there is nothing to do in {folder}", flush=True)
        return
    if part.job is None:  # the launcher ended before it could write it
        part.submitted(cluster, job_id())
    spec = part.spec
    registry = Registry(tuple(spec["plugins"]))
    ask = partial(ask_interpreters, spec["environments"], spec["plugins"])
    resolved = resolve(read_document(spec["suite"]), registry, ask)
    known = tuple(data for data in resolved.datasets if "card" in (part.store.record("data", data_id(data)) or {}))
    runner = PartRunner(
        replace(resolved, datasets=known),
        registry,
        part.store,
        device=spec["device"],
        jobs=spec["jobs"],
        threads=spec["threads"],
        download=spec["download"],
        max_failures=spec["max_failures"],
        plugin_files=tuple(spec["plugins"]),
        progress=Printed(),
        part=part,
    )
    runner.run()
    if runner.interrupted:
        (part.folder / "ended").write_text(ending[0], encoding="utf-8")


def job_id() -> str:
    """The id of this job, as submitit names it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return os.environ.get("SUBMITIT_LOCAL_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(f"ended by signal {number} before the run began")


@dataclass
class PartRunner(Runner):
    """Runs the cells of a part. Observers are called where the whole run is watched, and not here."""

    part: Part | None = None

    @property
    def gave_up(self) -> bool:
        """Whether no more cells are started: too many have failed, or the launcher says so."""
        return super().gave_up or (self.part is not None and self.part.stopping)

    def plan(self, supervisor: Supervisor, scratch: Store | None = None) -> list[Cell]:
        """The cells of the part. Raises TrilemmaError if one of them is another cell on this node."""
        assert self.part is not None
        chosen = [cell for cell in super().plan(supervisor, scratch) if cell.id in self.part.cells]
        if lost := len(self.part.cells) - len(chosen):
            raise TrilemmaError(
                f"{lost} of the {len(self.part.cells)} cells of this job are other cells on this node: trilemma, a "
                "plugin or a dataset is not the same as where the job was submitted"
            )
        return chosen

    def todo(self, cells: Iterable[Cell]) -> list[Todo]:
        """What is missing in the part, with the traces of cells that are repeated."""
        assert self.part is not None
        given = self.part.cells
        return [replace(item, replay=given[item.cell.id]["replay"] or item.replay) for item in super().todo(cells)]

    def _observe(self, hook: str, describe: Callable[[], dict[str, Any]]) -> None:
        pass


class Printed(Silent):
    """Progress as lines in the log of the job."""

    def started(self, todo: list[Todo], total: int) -> None:
        print(f"{len(todo)} cells to run", flush=True)

    def cell_started(self, cell: Cell) -> None:
        print(f"started {cell.label}", flush=True)

    def cell_finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        print(f"{outcome['outcome']} {cell.label} {outcome['message']}".rstrip(), flush=True)

    def timing_visit(self, cell: Cell, number: int) -> None:
        print(f"timing {cell.label}, round {number}", flush=True)

    def message(self, text: str) -> None:
        print(text, flush=True)
