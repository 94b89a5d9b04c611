"""The experiments of claims: a suite for each, all into one run directory, so that claims share their cells."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import api
from ..execution.processes.forks import Zygote
from ..execution.processes.supervisor import Supervisor
from ..execution.progress import Progress, Silent, Todo
from ..execution.run import Runner
from ..execution.scheduling.expected import expected_run_seconds
from ..plugins import Registry
from ..store.frame import load_frame
from ..store.store import Store
from .record import Claim, Effort
from .registry import Registered, chosen, registered_claims
from .verdicts import judge

OUT = "runs/claims"


@dataclass
class Planned:
    """A claim with what is missing for it. `seconds` is about how long that takes; it is shared with later claims."""

    claim: Claim
    runner: Runner
    todo: list[Todo]
    seconds: float


@dataclass
class Campaign:
    """Runs the experiments of claims into one directory, and judges the claims by its results.

    `only` are names of claims or families, by default all. `first_seed` is the first of the training seeds. A plugin
    file or module in `plugins` is loaded besides.
    """

    effort: Effort = "quick"
    only: Sequence[str] | None = None
    out: str | Path = OUT
    first_seed: int = 0
    jobs: int | None = None
    threads: int = 1
    device: str = "cpu"
    plugins: Iterable[str | Path] = ()
    progress: Progress = field(default_factory=Silent)
    interrupted: bool = False
    failed: bool = False
    """Whether a cell failed."""
    problems: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plugins = tuple(self.plugins)
        self.registry = Registry(self.plugins)
        self.all: list[Registered] = registered_claims(self.registry)
        self.claims = [each.claim for each in chosen(self.all, self.only)]

    def seeds(self, claim: Claim) -> list[int]:
        """The training seeds of a claim."""
        return claim.seed_list(self.effort, self.first_seed)

    def plan(self) -> list[Planned]:
        """What is missing for each claim. Nothing is written into the run directory.

        A cell that several claims need counts for the first of them.
        """
        counted: set[str] = set()
        planned = []
        with tempfile.TemporaryDirectory(prefix="trilemma-") as folder:
            scratch = Store(folder)
            with scratch.writing():
                for claim in self.claims:
                    runner = self._runner(claim)
                    supervisor = Supervisor(Zygote.shared(self.threads))
                    todo = runner.todo(runner.plan(supervisor, scratch))
                    wanted = {id for item in todo for id in (item.cell.id, *item.evaluations)}
                    new = [item for item in todo if not {item.cell.id, *item.evaluations} <= counted]
                    counted |= wanted
                    planned.append(Planned(claim, runner, todo, expected_run_seconds(runner, new)))
        return planned

    def run(self) -> None:
        """Run what is missing. Sets `interrupted` after Ctrl-C; the same call then goes on where it was."""
        shown = self._shown()
        planned = [each for each in self.plan() if each.todo or not self._wanted(each) <= shown]
        for number, each in enumerate(planned, 1):
            self.progress.message(f"claim {number} of {len(planned)}: {each.claim.name}")
            each.runner.run()
            self.failed |= each.runner.failures > 0
            if each.runner.interrupted:
                self.interrupted = True
                return

    def verdicts(self, *, report: bool = False) -> list[dict[str, Any]]:
        """The records of the selected claims (see `judge`). With `report`, the report of the run is written too."""
        store = Store(self.out)
        if not store.holds_run:
            frame = _nothing()
        elif report:
            frame, written, problems = api.end(store, self.registry)
            self.written += written
            self.problems += problems
        else:
            frame = api.load_results(self.out)
        seeds = {each.claim.name: self.seeds(each.claim) for each in self.all}
        selected = {claim.name for claim in self.claims}
        return [record for record in judge(self.all, frame, self.effort, seeds) if record["name"] in selected]

    def _shown(self) -> set[tuple[str, str]]:
        """The evaluations whose results a verdict reads, each with the label of its model.

        Results that are stored are not read where the claim was never listed under its labels, or where a later run
        measured the same with another setting of a metric.
        """
        store = Store(self.out)
        if not store.holds_run:
            return set()
        frame = load_frame(store, superseded=True)
        listed = set(zip(frame["evaluation"], frame["label"], strict=True))
        old = frame[frame["superseded"]]
        return listed - set(zip(old["evaluation"], old["label"], strict=True))

    @staticmethod
    def _wanted(planned: Planned) -> set[tuple[str, str]]:
        cells = planned.runner.suite_cells
        return {(evaluation.id, cell.model.label) for cell in cells for evaluation in cell.evaluations}

    def _runner(self, claim: Claim) -> Runner:
        return api.make_runner(
            claim.suite(self.effort, self.seeds(claim)),
            out=self.out,
            jobs=self.jobs,
            threads=self.threads,
            device=self.device,
            plugins=self.plugins,
            progress=self.progress,
        )


def _nothing() -> Any:
    import pandas as pd

    return pd.DataFrame()
