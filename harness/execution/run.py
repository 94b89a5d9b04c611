"""The runner: it plans a suite, executes what is missing, and records the outcomes."""

from __future__ import annotations

import contextlib
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..planning.cell import Cell, cell_job, data_id, plan
from ..planning.resolve import Choice, Resolved
from ..planning.suite import Limits
from ..plugins import Registry
from ..store.claim import check_claim
from ..store.store import Store
from .environment import available_cores, environment, visible_gpus
from .executors import run_local
from .forks import Zygote
from .jobs import run_job
from .missing import missing
from .outcomes import failure, name_of, outcome_of, record_failure
from .progress import Progress, Silent, Todo
from .supervisor import Ending, Supervisor
from .timing import TimingPhase, log_name


@dataclass
class Runner:
    """Runs one resolved suite into one directory.

    `jobs` cells run at a time, each with `threads` threads. With `rerun`, finished cells are repeated; cells with a
    budget in seconds repeat the same number of steps. With `download`, datasets may download their files.
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
    progress: Progress = field(default_factory=Silent)
    interrupted: bool = False
    written: list[Path] = field(default_factory=list)
    """The files that observers wrote at the end of the run, such as the report."""
    problems: list[str] = field(default_factory=list)
    """The errors of observers at the end of the run."""

    def __post_init__(self) -> None:
        gpus = visible_gpus(self.device)
        if self.jobs is None:
            self.jobs = len(gpus) or max(1, available_cores() // self.threads)
        # One slot for each cell that may run at a time. A slot holds the GPU that the cell may use, or None.
        self._slots: queue.Queue[str | None] = queue.Queue()
        for job in range(self.jobs):
            self._slots.put(gpus[job % len(gpus)] if gpus else None)

    # Planning

    def plan(self, supervisor: Supervisor, scratch: Store | None = None) -> list[Cell]:
        """Plan the cells of the suite. Datasets without a stored card are loaded, each in its own process.

        Cards of newly loaded datasets are written into `scratch`, which is by default the run directory.
        """
        scratch = scratch or self.store
        missing = {
            data_id(dataset): dataset
            for dataset in self.resolved.datasets
            if "card" not in (self.store.record("data", data_id(dataset)) or {})
        }
        if missing:
            tasks = [partial(self._describe_data, supervisor, scratch, id, choice) for id, choice in missing.items()]
            run_local(tasks, self.jobs or 1, lambda _: None)
        cards = {}
        for dataset in self.resolved.datasets:
            id = data_id(dataset)
            record = (scratch if id in missing else self.store).record("data", id)
            record = record or {"error": "the process that loads the dataset ended without a message"}
            cards[id] = record.get("card") or {"error": record.get("error", "")}
        return plan(self.resolved, cards, self.device)

    def todo(self, cells: Iterable[Cell]) -> list[Todo]:
        """What is missing in the store. What failed is tried again."""
        return missing(self.store, cells, rerun=self.rerun)

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
        with self.store.writing(), self._signals(supervisor):
            cells = self.plan(supervisor)
            todo = self.todo(cells)
            if self.interrupted:
                return todo
            self._write_run(cells)
            self.progress.started(todo, len(cells))
            self._observe("run_started", path=self.store.path, cells=[_summary(cell, todo) for cell in cells])
            tasks = [partial(self._run_cell, supervisor, item) for item in todo if item.in_cell]
            run_local(tasks, self.jobs or 1, self._finished)
            self._time(supervisor, cells, todo)
            return todo

    def _time(self, supervisor: Supervisor, cells: list[Cell], todo: list[Todo]) -> None:
        """Measure times, when all cells have ended."""
        untimed = [item for item in todo if item.timings]
        if not untimed or supervisor.stop.is_set():
            return
        supervisor.wait()
        slot = self._slots.get()
        self._slots.put(slot)  # no other process of the run is alive, so this one may use it
        trained = [self.store.record("cells", cell.id) or {} for cell in cells]
        suite = self.resolved.suite

        def supervise(cell: Cell, job: dict[str, Any]) -> Ending:
            return self._supervise(supervisor, self.store, log_name(cell), job, suite.limits, gpu=slot)

        phase = TimingPhase(
            self.store,
            suite.timing,
            suite.limits,
            environment(self.threads),
            supervise,
            supervisor.stop.is_set,
            self.progress,
        )
        seconds = sum(record["training"]["wall_seconds"] for record in trained if record.get("outcome") == "ok")
        phase.run(untimed, seconds, len(self.store.run()["runs"]))

    def _supervisor(self) -> Supervisor:
        zygote = Zygote.shared(self.threads)
        zygote.warm_up()
        return Supervisor(zygote)

    def _finished(self, ended: tuple[Cell, dict[str, Any]] | None) -> None:
        if ended is not None:
            cell, outcome = ended
            self.progress.cell_finished(cell, outcome)
            self._observe("cell_finished", path=self.store.path, cell=cell.describe(), outcome=outcome)

    def _run_cell(self, supervisor: Supervisor, todo: Todo) -> tuple[Cell, dict[str, Any]] | None:
        """Run one cell. Returns None if it was interrupted; the next run then runs it."""
        cell = todo.cell
        if supervisor.stop.is_set():
            return None
        if cell.data_error:
            outcome = failure("error", "dataset", 0.0, cell.data_error)
            self._record_failure(cell, todo, outcome)
            return cell, outcome
        self.progress.cell_started(cell)
        self._observe("cell_started", path=self.store.path, cell=cell.describe())
        job = {
            "kind": "cell",
            **cell_job(cell),
            "train": todo.train,
            "replay": todo.replay,
            "evaluations": [asdict(planned) for planned in cell.evaluated if planned.id in todo.evaluations],
        }
        on_event = partial(self.progress.cell_event, cell)
        slot = self._slots.get()
        try:
            ending = self._supervise(supervisor, self.store, cell.id, job, self.resolved.suite.limits, on_event, slot)
        finally:
            self._slots.put(slot)
        if ending.cause == "interrupted":
            return None
        outcome = outcome_of(cell, ending, self.store, self.resolved.suite.limits)
        if ending.cause != "exit" or ending.code != 0:
            self._record_failure(cell, todo, outcome, committed=ending.events)
        return cell, outcome

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
        home = store.path.resolve()
        common = {
            "store": str(home),
            "plugins": list(self.plugin_files),
            "threads": self.threads,
            "device": self.device.partition(":")[0],
        }
        env = {"TRILEMMA_DOWNLOAD": "1"} if self.download else {}
        env |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        folder, log = home / "tmp" / f"job-{id}", home / "logs" / f"{id}.log"
        return run_job(supervisor, folder, log, {**common, **job}, limits, env=env, on_event=on_event)

    def _describe_data(self, supervisor: Supervisor, store: Store, id: str, dataset: Choice) -> None:
        job = {"kind": "data", "id": id, "dataset": asdict(dataset)}
        self.progress.note(f"loading dataset {dataset.label}")
        ending = self._supervise(supervisor, store, id, job, self.resolved.suite.limits)
        if ending.cause != "interrupted" and (ending.cause != "exit" or ending.code != 0):
            message = f"loading the dataset ended as {name_of(ending)}; {store.log_tail(id, 3)}"
            store.commit("data", id, {"error": message})

    def _record_failure(
        self, cell: Cell, todo: Todo, outcome: dict[str, Any], committed: Iterable[dict[str, Any]] = ()
    ) -> None:
        try:
            record_failure(self.store, todo, outcome, committed, environment(self.threads))
        except OSError as error:
            self.progress.message(f"the outcome of {cell.label} could not be stored: {error}")

    # Inside

    def _write_run(self, cells: list[Cell]) -> None:
        run = {
            "suite": self.resolved.suite.model_dump(mode="json"),
            "environment": environment(self.threads),
            "jobs": self.jobs,
            "device": self.device,
            "plugin_files": list(self.plugin_files),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        self.store.write_run(run, [{**cell.describe(), "data_id": data_id(cell.dataset)} for cell in cells])

    def _observe(self, hook: str, **arguments: Any) -> None:
        for seen in self.registry.observe(hook, **arguments):
            if seen.error:
                self.progress.message(seen.error)

    @contextlib.contextmanager
    def _signals(self, supervisor: Supervisor) -> Iterator[None]:
        """At the first Ctrl-C or SIGTERM, end the running cells and start no more. At the second, kill them at once."""

        def handle(number: int, frame: Any) -> None:
            if supervisor.stop.is_set():
                supervisor.kill.set()
            self.interrupted = True
            supervisor.stop.set()
            self.progress.message("stopping; finished cells are kept (press Ctrl-C again to stop at once)")

        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread only
            return
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _summary(cell: Cell, todo: list[Todo]) -> dict[str, Any]:
    return {**cell.describe(), "todo": any(item.cell.id == cell.id for item in todo)}
