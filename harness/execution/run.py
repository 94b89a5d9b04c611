"""The runner: it plans a suite, executes what is missing, and records the outcomes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..planning.cell import Cell, data_id, plan
from ..planning.choices import Choice, Resolved
from ..planning.shards import Shard, select, shard_record
from ..planning.suite import Limits
from ..plugins import Registry
from ..store.claim import check_claim
from ..store.store import Store
from .cards import read_cards
from .environment import available_cores, environment, run_record, visible_gpus
from .interrupts import stop_on_signals
from .missing import missing
from .outcomes import failure, name_of, outcome_of, record_failure
from .processes.forks import Zygote
from .processes.jobs import run_job
from .processes.supervisor import Ending, Supervisor
from .progress import Progress, Silent, Todo
from .recording import recorded
from .scheduling.engines import local
from .scheduling.estimates import Estimates
from .scheduling.executors import Executor, Work, run_local
from .scheduling.schedule import Schedule
from .scheduling.setting import Engine, Machine, Setting
from .timing import TimingPhase, expected_seconds, log_name


@dataclass
class Runner:
    """Runs one resolved suite into one directory.

    `jobs` cells run at a time, each with `threads` threads. With `rerun`, finished cells are repeated; cells with a
    budget in seconds repeat the same number of steps. With `download`, datasets may download their files. When
    `max_failures` cells have failed, no more are started. With `shard`, only that part of the cells runs. `engine`
    makes the executor of the cells.
    """

    resolved: Resolved
    registry: Registry
    store: Store
    device: str = "cpu"
    jobs: int | None = None
    threads: int = 1
    rerun: bool = False
    download: bool = False
    plugin_files: tuple[str, ...] = ()
    max_failures: int | None = None
    shard: Shard | None = None
    engine: Engine = local
    progress: Progress = field(default_factory=Silent)
    interrupted: bool = False
    failures: int = 0
    """How many cells have failed in this run."""
    suite_cells: list[Cell] = field(default_factory=list)
    """All planned cells of the suite, those of other shards included."""
    written: list[Path] = field(default_factory=list)
    """The files that observers wrote at the end of the run, such as the report."""
    problems: list[str] = field(default_factory=list)
    """The errors of observers at the end of the run."""

    def __post_init__(self) -> None:
        self._given_jobs = self.jobs
        self._env = {"TRILEMMA_DOWNLOAD": "1"} if self.download else {}
        self._gpus = visible_gpus(self.device, needed=self.engine is local)
        if self.jobs is None:
            self.jobs = len(self._gpus) or max(1, available_cores() // self.threads)

    @property
    def gave_up(self) -> bool:
        """Whether so many cells have failed that no more are started."""
        return self.max_failures is not None and self.failures >= self.max_failures

    # Planning

    def plan(self, supervisor: Supervisor, scratch: Store | None = None) -> list[Cell]:
        """Plan the cells of the suite. Datasets without a stored card are loaded, each in its own process.

        Cards of newly loaded datasets are written into `scratch`, which is by default the run directory.
        """
        scratch = scratch or self.store
        ids = {data_id(dataset): dataset for dataset in self.resolved.datasets}
        stores = (self.store, scratch)

        def known(id: str) -> dict[str, Any] | None:
            return next((found for store in stores if "card" in (found := store.record("data", id) or {})), None)

        missing = {id: choice for id, choice in ids.items() if known(id) is None}
        if missing:
            tasks = [partial(self._describe_data, supervisor, scratch, id, choice) for id, choice in missing.items()]
            run_local(tasks, self.jobs or 1)
        records = {id: known(id) or scratch.record("data", id) for id in ids}
        cards = read_cards(self.resolved.datasets, records, self.progress.message)
        self.suite_cells = plan(self.resolved, cards, self.device)
        return select(self.suite_cells, self.shard)

    def todo(self, cells: Iterable[Cell]) -> list[Todo]:
        """What is missing in the store. What failed is tried again."""
        return missing(self.store, cells, rerun=self.rerun, message=self.progress.message)

    # Execution

    def dry_run(self) -> list[Todo]:
        """What `run` would do. It writes only temporary files, outside the run directory.

        Raises TrilemmaError for a directory that `run` could not use.
        """
        check_claim(self.store.path)
        with tempfile.TemporaryDirectory(prefix="trilemma-") as folder:
            scratch = Store(folder)
            supervisor = self._supervisor()
            with scratch.writing(), self._signals(supervisor):
                return self.todo(self.plan(supervisor, scratch))

    def run(self) -> list[Todo]:
        """Run what is missing, and return what was missing. Sets `interrupted` after Ctrl-C or SIGTERM.

        Raises TrilemmaError if the run cannot start, for example because another run uses the directory.
        """
        supervisor = self._supervisor()
        with self.store.writing(), recorded(self), self._signals(supervisor):
            cells = self.plan(supervisor)
            todo = self.todo(cells)
            if self.interrupted:
                return todo
            with contextlib.closing(self._executor(supervisor, todo)) as executor:
                self._write_run(cells)
                self.progress.started(todo, len(cells))
                self._announce(cells, todo)
                self._run_cells(executor, supervisor, cells, todo)
            self._time(supervisor, cells, todo)
            return todo

    def _run_cells(self, executor: Executor, supervisor: Supervisor, cells: list[Cell], todo: list[Todo]) -> None:
        """Run all cells that have something to do in a process of theirs."""
        runnable = [item for item in self._with_data(todo) if item.in_cell]
        if not runnable:
            return
        Schedule(
            executor,
            Estimates.from_store(self.store, cells),
            start=partial(self._start, executor),
            ended=self._ended,
            stopped=lambda: supervisor.stop.is_set() or self.gave_up or bool(executor.failed),
            progress=self.progress,
            after=expected_seconds(self.resolved.suite.timing, todo),
        ).run(runnable)
        if executor.failed:
            self.interrupted = True
            self.progress.message(f"{executor.failed}; finished cells are kept")
        elif self.gave_up:
            self.progress.message(f"{self.failures} failed, so no more cells were started; the same command goes on")

    def _with_data(self, todo: list[Todo]) -> list[Todo]:
        """What can be done. Cells whose dataset could not be loaded are recorded as failures."""
        for item in todo:
            if item.in_cell and item.cell.data_error:
                outcome = failure("error", "dataset", 0.0, item.cell.data_error)
                self._record_failure(item, outcome)
                self._finished(item.cell, outcome)
        return [item for item in todo if not item.cell.data_error]

    def _executor(self, supervisor: Supervisor, todo: list[Todo]) -> Executor:
        limits = self.resolved.suite.limits

        def supervise(work: Work, gpu: str | None) -> Ending:
            return self._supervise(supervisor, self.store, work.cell.id, work.job, limits, work.on_event, gpu)

        def stopped() -> bool:
            return supervisor.stop.is_set() or self.gave_up

        device, job = self.device.partition(":")[0], (self.plugin_files, self._env)
        machine = Machine(self.threads, device, self.jobs or 1, self._given_jobs, tuple(self._gpus))
        setting = Setting(self.store, limits, machine, *job, supervisor, supervise, stopped, self.progress.message)
        return (self.engine if any(item.in_cell and not item.cell.data_error for item in todo) else local)(setting)

    def _start(self, executor: Executor, todo: Todo) -> Future[Ending]:
        """Start what is to be done for one cell."""
        cell = todo.cell
        self.progress.cell_started(cell)
        self._observe("cell_started", lambda: {"cell": cell.describe()})
        job = todo.job(self.resolved.suite.limits.checkpoint_seconds)
        return executor.submit(Work(cell, job, partial(self.progress.cell_event, cell)))

    def _ended(self, todo: Todo, ending: Ending) -> None:
        """Record how a cell ended. One that was interrupted has no outcome; the next run then runs it."""
        if ending.cause == "interrupted":
            if ending.said:
                self.progress.message(f"{todo.cell.label} was not run: {ending.said}")
            return
        outcome = outcome_of(todo.cell, ending, self.store, self.resolved.suite.limits)
        if ending.cause != "exit" or ending.code != 0:
            self._record_failure(todo, outcome, ending)
        self._finished(todo.cell, outcome)

    def _finished(self, cell: Cell, outcome: dict[str, Any]) -> None:
        self.failures += outcome["outcome"] not in ("ok", "unsupported")
        self.progress.cell_finished(cell, outcome)
        self._observe("cell_finished", lambda: {"cell": cell.describe(), "outcome": outcome})

    def _time(self, supervisor: Supervisor, cells: list[Cell], todo: list[Todo]) -> None:
        """Measure times, when all cells have ended."""
        untimed = [item for item in todo if item.timings]
        if not untimed or self.interrupted or self.gave_up:
            return
        if self.device.startswith("cuda") and not self._gpus:
            self.progress.message("no times are measured, because this machine has no GPU")
            return
        supervisor.wait()
        gpu = next(iter(self._gpus), None)
        records = (self.store.record("cells", cell.id) or {} for cell in cells)  # one at a time: they hold curves
        suite = self.resolved.suite

        def supervise(cell: Cell, job: dict[str, Any]) -> Ending:
            return self._supervise(supervisor, self.store, log_name(cell), job, suite.limits, gpu=gpu)

        about, stopped = environment(self.threads, self.device), supervisor.stop.is_set
        phase = TimingPhase(self.store, suite.timing, suite.limits, about, supervise, stopped, self.progress)
        seconds = sum(record["training"]["wall_seconds"] for record in records if record.get("outcome") == "ok")
        phase.run(untimed, seconds, self._number)

    def _supervisor(self) -> Supervisor:
        zygote = Zygote.shared(self.threads)
        zygote.warm_up(self.resolved.needs)
        return Supervisor(zygote)

    def _supervise(
        self,
        supervisor: Supervisor,
        store: Store,
        id: str,
        job: dict[str, Any],
        limits: Limits,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
        gpu: str | None = None,
    ) -> Ending:
        home, python = store.path.resolve(), job.get("model", {}).get("environment")
        zygote = Zygote.shared(self.threads, python) if python else None
        common = {
            "store": str(home),
            "plugins": [*self.plugin_files, *([job["model"]["plugin"]] if python else [])],
            "threads": self.threads,
            "device": self.device.partition(":")[0],
        }
        env = self._env | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        folder, log = home / "tmp" / f"job-{id}", home / "logs" / f"{id}.log"
        return run_job(supervisor, folder, log, {**common, **job}, limits, env=env, on_event=on_event, zygote=zygote)

    def _describe_data(self, supervisor: Supervisor, store: Store, id: str, dataset: Choice) -> None:
        job = {"kind": "data", "id": id, "dataset": asdict(dataset)}
        self.progress.note(f"loading dataset {dataset.label}")
        ending = self._supervise(supervisor, store, id, job, self.resolved.suite.limits)
        if ending.cause != "interrupted" and (ending.cause != "exit" or ending.code != 0):
            message = f"loading the dataset ended as {name_of(ending)}; {store.log_tail(id, 3)}"
            store.commit("data", id, {"error": message})

    def _record_failure(self, todo: Todo, outcome: dict[str, Any], ending: Ending | None = None) -> None:
        committed, there = (ending.events, ending.environment) if ending else ([], None)
        try:
            about = there or environment(self.threads, self.device)
            record_failure(self.store, todo, outcome, committed, about)
        except OSError as error:
            self.progress.message(f"the outcome of {todo.cell.label} could not be stored: {error}")

    # Inside

    def _write_run(self, cells: list[Cell]) -> None:
        shard = shard_record(self.suite_cells, self.shard)
        about = {"jobs": self.jobs, "shard": shard, "plugin_files": list(self.plugin_files)}
        run = run_record(self.resolved.suite.model_dump(mode="json"), self.threads, self.device, **about)
        self._number = self.store.write_run(run, (cell.record() for cell in cells))

    def _announce(self, cells: list[Cell], todo: list[Todo]) -> None:
        chosen = {item.cell.id for item in todo}
        self._observe("run_started", lambda: {"cells": [{**c.describe(), "todo": c.id in chosen} for c in cells]})

    def _observe(self, hook: str, describe: Callable[[], dict[str, Any]]) -> None:
        """Call observers with the path and what is described: copies, so they are made only for a plugin that asks."""
        if self.registry.observed_by_others(hook):
            for seen in self.registry.observe(hook, path=self.store.path, **describe()):
                if seen.error:
                    self.progress.message(seen.error)

    def _signals(self, supervisor: Supervisor) -> contextlib.AbstractContextManager[None]:
        def stopping() -> None:
            self.interrupted = True
            self.progress.message("stopping; finished cells are kept (press Ctrl-C again to stop at once)")

        return stop_on_signals(supervisor, stopping)
