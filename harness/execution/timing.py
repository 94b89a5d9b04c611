"""The timing phase of a run: after all cells, alone on the machine, one process at a time, in random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..planning.cell import Cell, PlannedEvaluation, cell_job
from ..planning.suite import Limits, Timing
from ..store.store import Store
from .outcomes import ended_badly, failure
from .processes.supervisor import Ending
from .progress import Progress, Todo
from .scheduling.estimates import SECONDS_OF_STEPS
from .visits import merged

SHARE = 0.1  # of the seconds of training, if the suite sets no limit
LEAST_SECONDS = 20.0
VISIT_SECONDS = 3.0  # of one visit, before one has ended
_PROCESS_ENDED = ("timeout", "out-of-memory", "killed")


def expected_seconds(timing: Timing, todo: Iterable[Todo]) -> float:
    """About how long the timing phase will take, before the cells have run."""
    cells = [item.cell for item in todo if item.timings]
    training = sum(float(cell.budget.get("seconds", SECONDS_OF_STEPS)) for cell in cells)
    return min(timing.seconds or max(LEAST_SECONDS, SHARE * training), timing.rounds * VISIT_SECONDS * len(cells))


@dataclass
class Setting:
    """A sampler setting that is to be timed, with the visits so far."""

    cell: Cell
    planned: PlannedEvaluation
    visits: list[dict[str, Any]] = field(default_factory=list)
    failure: dict[str, Any] | None = None

    @property
    def phase(self) -> str:
        """The phase that its outcome names."""
        return f"timing {self.planned.label}"

    def add(self, visit: dict[str, Any]) -> None:
        """Add a visit, or the failure of one."""
        if visit["outcome"] == "ok":
            self.visits.append(visit)
        else:
            self.failure = visit

    def record(self, complete: bool, environment: dict[str, Any]) -> dict[str, Any]:
        """Its record in the store. The visits of a setting that failed in a later visit are kept."""
        last = self.failure or self.visits[-1]
        return {
            "outcome": last["outcome"],
            "phase": self.phase,
            "message": last["message"],
            "elapsed": sum(visit["elapsed"] for visit in self.visits) or last["elapsed"],
            "cell": self.cell.id,
            "sampler": asdict(self.planned.sampler) if self.planned.sampler else None,
            "nfe": None,
            "results": merged(self.visits),
            "not_computed": last.get("not_computed", []),
            "visits": self.visits,
            "complete": complete,
            "environment": environment,
        }


@dataclass
class TimingPhase:
    """Visits every sampler setting that is to be timed, in rounds, and stores what the visits give.

    A visit is a process of its own, in which one cell is restored from its checkpoint and its settings are timed in
    random order. The cells of a round come in random order too. `supervise` runs the job of a cell, and `stopped` says
    whether the run was interrupted.
    """

    store: Store
    timing: Timing
    limits: Limits
    environment: dict[str, Any]
    supervise: Callable[[Cell, dict[str, Any]], Ending]
    stopped: Callable[[], bool]
    progress: Progress

    def run(self, todo: Iterable[Todo], trained_seconds: float, order_seed: int) -> None:
        """Time what is missing, within the limit. Every setting is visited at least once, also beyond the limit."""
        self._started = time.monotonic()
        self._limit = self.timing.seconds or max(LEAST_SECONDS, SHARE * trained_seconds)
        self._order_seed, self._turn = order_seed, 0
        order = random.Random(order_seed)
        waiting = {item.cell.id: settings for item in todo if (settings := self._settings(item))}
        if not waiting:
            return
        visits = self.timing.rounds * len(waiting)
        self.progress.timing_started(visits)
        took = dict.fromkeys(waiting, 0.0)
        for number in range(self.timing.rounds):
            for place, id in enumerate(order.sample(list(waiting), len(waiting)), number * len(waiting)):
                if self.stopped():
                    return
                self.progress.remaining(self._remaining(place, len(waiting), visits))
                due = [each for each in waiting[id] if len(each.visits) <= number and each.failure is None]
                again = all(each.visits for each in due)
                self.progress.timing_visit(waiting[id][0].cell, number + 1)
                if due and not (again and self._left() < took[id]):
                    begun = time.monotonic()
                    self._visit(due, number)
                    took[id] = time.monotonic() - begun
        if not self.stopped():
            self._finish([each for settings in waiting.values() for each in settings])

    def _remaining(self, done: int, first: int, visits: int) -> float:
        """The seconds that are left after some of the visits. Only the `first` ones also run beyond the limit."""
        each = (time.monotonic() - self._started) / done if done else VISIT_SECONDS
        return min(each * (visits - done), max(self._left(), each * (first - done), 0.0))

    def _left(self) -> float:
        return self._limit - (time.monotonic() - self._started)

    def _settings(self, todo: Todo) -> list[Setting]:
        """What is to be timed of one cell. Nothing of a cell without a trained model."""
        cell = todo.cell
        trained = self.store.record("cells", cell.id)
        if trained is None or trained["outcome"] != "ok":
            return []
        sampled = {
            planned.label: self.store.record("evaluations", planned.id)
            for planned in cell.evaluated
            if planned.sampler is not None
        }
        found = []
        for planned in cell.timed:
            if planned.id not in todo.timings:
                continue
            setting = Setting(cell, planned)
            before = sampled.get(planned.label)
            if before is not None and before["outcome"] in _PROCESS_ENDED:
                message = f"not timed, because its evaluation ended as {before['outcome']}: {before['message']}"
                setting.failure = failure(before["outcome"], setting.phase, 0.0, message)
                self._commit(setting, complete=True)
                continue
            stored = self.store.record("evaluations", planned.id)
            if stored is not None and not todo.train and self._same_machine(stored.get("environment")):
                setting.visits = list(stored.get("visits", ()))
            found.append(setting)
        return found

    def _same_machine(self, other: dict[str, Any] | None) -> bool:
        """Whether visits in another environment may be put together with those of this run."""
        keys = ("cpu", "gpus", "threads", "versions")
        return other is not None and all(other.get(key) == self.environment.get(key) for key in keys)

    def _visit(self, due: list[Setting], number: int) -> None:
        """Visit the settings of one cell. After a process that ended badly, another goes on with what it left."""
        waiting = {each.planned.id: each for each in due}
        cell = due[0].cell
        while waiting and not self.stopped():
            self._turn += 1
            place = {"round": number, "turn": self._turn, "order_seed": self._order_seed}
            ending = self.supervise(cell, self._job(cell, list(waiting.values())))
            timing: Setting | None = None
            for event in ending.events:
                if "timed" in event:
                    waiting[event["timed"]].add({**event["visit"], **place})
                    timing = None
                elif "evaluation" in event:
                    timing = waiting[event["evaluation"]]
            visited = {event["timed"] for event in ending.events if "timed" in event}
            if ending.cause != "interrupted":
                for each in self._failed(ending, waiting, visited, timing):
                    visited.add(each.planned.id)
            for id in visited:
                self._commit(waiting.pop(id))

    def _failed(
        self, ending: Ending, waiting: dict[str, Setting], visited: set[str], timing: Setting | None
    ) -> list[Setting]:
        """The settings at which a process failed: the one that it timed, or all if it could not begin."""
        unvisited = [each for id, each in waiting.items() if id not in visited]
        wrong = next((event["failed"] for event in ending.events if "failed" in event), None)
        if wrong is None and (timing is not None or unvisited):
            tail = self.store.log_tail(log_name(next(iter(waiting.values())).cell))
            if ending.cause == "exit" and ending.code == 0:
                wrong = failure("error", "", ending.elapsed, "the process recorded no result", tail)
            else:
                wrong = ended_badly(ending, self.limits, tail)
        if wrong is None:
            return []
        failed = [timing] if timing is not None else unvisited
        for each in failed:
            each.add({**wrong, "phase": each.phase})
        return failed

    def _job(self, cell: Cell, settings: list[Setting]) -> dict[str, Any]:
        record = self.store.record("cells", cell.id) or {}
        # A model without a checkpoint is trained again to be timed, so all its rounds are measured in one process.
        remaining = self.timing.rounds - min(len(each.visits) for each in settings)
        return {
            "kind": "timing",
            **cell_job(cell),
            "replay": record.get("trace"),
            "evaluations": [asdict(each.planned) for each in settings],
            "rounds": 1 if record.get("checkpoint") else remaining,
            "seconds": self._left(),
            "order": f"{self._order_seed}, {self._turn}",
        }

    def _commit(self, setting: Setting, complete: bool = False) -> None:
        complete = complete or len(setting.visits) >= self.timing.rounds
        try:
            self.store.commit("evaluations", setting.planned.id, setting.record(complete, self.environment))
        except OSError as error:
            self.progress.message(f"the times of {setting.cell.label} could not be stored: {error}")

    def _finish(self, settings: list[Setting]) -> None:
        for each in settings:
            if each.failure is None and 0 < len(each.visits) < self.timing.rounds:
                self._commit(each, complete=True)
        self.progress.timing_finished()
        over = -self._left()
        if over > 0.05 * self._limit:
            self.progress.message(
                f"timing took {self._limit + over:.0f} s, {over:.0f} s more than its limit of {self._limit:g} s, "
                "because each sampler setting is timed at least once (timing.seconds of the suite sets the limit)"
            )


def log_name(cell: Cell) -> str:
    """The name of the log of the visits to a cell."""
    return f"timing-{cell.id}"
