"""One campaign of jobs: which cells wait, which parts are at work, and what comes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import StoreError
from ...planning.cell import Cell, data_id
from ..missing import missing
from ..progress import Todo
from ..scheduling.estimates import Estimates
from ..timing import LEAST_SECONDS, SHARE
from .cluster import ARRAY, ENDED, State
from .packing import duration, limit_minutes, pack
from .parts import Part, covers, create_part, existing_parts, todo_of

if TYPE_CHECKING:
    from .launcher import SlurmRunner

RETRIES = 2  # of a cell whose job ended without its record
POLL_SECONDS = {"local": 0.3, "slurm": 3.0}  # between two looks at the jobs
SLOWEST_POLL, POLL_SHARE = 20.0, 0.02  # looks become rarer, with the time of the campaign
CHANCE_SECONDS = 4.0  # for a second Ctrl-C, which cancels the jobs
CANCEL_SECONDS = 90.0  # for jobs to end after they were cancelled


class Campaign:
    """Sends the cells of a run in parts to the cluster, and merges the parts as they end.

    The jobs need no launcher: after `stop` is set it leaves them alone, after `kill` it cancels them.
    """

    def __init__(
        self, runner: SlurmRunner, stop: threading.Event, kill: threading.Event, cells: list[Cell], todo: Iterable[Todo]
    ) -> None:
        self.runner, self.stop, self.kill, self.cells = runner, stop, kill, cells
        self.cluster, self.store = runner.cluster, runner.store
        self.todo = {item.cell.id: item for item in todo}
        self.waiting = dict.fromkeys(self.todo, 0)
        """The cells that no part has, with the number of their attempt."""
        self.queue: list[Part] = []
        """The parts that are to be submitted."""
        self.active: dict[Part, State] = {}
        """The parts whose jobs have not ended, or are not yet merged."""
        self._open = True  # whether parts may be submitted
        self._deadline = float("inf")  # for all jobs to end
        self._shown: set[str] = set()
        self._estimates = Estimates()

    def run(self) -> bool:
        """Run the campaign. Returns whether every job has ended and is merged. Raises TrilemmaError."""
        self._adopt()
        if self.runner.cancel:
            self._cancel()
        leaving = cancelled = False
        started = time.monotonic()
        while True:
            if self.kill.is_set() and not cancelled:
                cancelled = True
                self._cancel()
            elif self.stop.is_set() and not leaving:
                leaving = True
                self._deadline = min(self._deadline, time.monotonic() + CHANCE_SECONDS)
            elif self.runner.gave_up and self._open:
                self._close([part for part, state in self.active.items() if state.state == "pending"])
            if self._open and not leaving:
                self._submit()
            self._look()
            if not self.active and (leaving or not self._open or not (self.waiting or self.queue)):
                return True
            if time.monotonic() > self._deadline:
                return False
            patience = min(SLOWEST_POLL, POLL_SHARE * (time.monotonic() - started))
            self.kill.wait(max(POLL_SECONDS[self.cluster.name], 0.0 if leaving else patience))

    def _adopt(self) -> None:
        """Take over the parts of an earlier launcher. One that was not submitted is packed anew."""
        self.cluster.wait_for_submission()
        for part in existing_parts(self.store):
            try:
                cells = part.cells
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise StoreError(f"a part of an earlier run cannot be read: {error}; remove {part.folder}") from None
            if part.job is None:
                earlier = {id: entry["attempt"] for id, entry in cells.items() if id in self.waiting}
                self.waiting |= {id: max(attempt, self.waiting[id]) for id, attempt in earlier.items()}
                part.remove()
                continue
            self.active[part] = State("running")
            for id in cells:
                self.waiting.pop(id, None)

    # Submission

    def _submit(self) -> None:
        free = self.runner.max_jobs - len(self.active)
        if free <= 0:
            return
        if self.waiting:
            self._pack()
        # An array waits in the queue of the cluster. Elsewhere, what has no free place waits here.
        batch = self.queue[: ARRAY if self.cluster.name == "slurm" else free]
        if batch:
            minutes = max(part.spec["minutes"] for part in batch)
            self.cluster.submit(batch, free, self.runner.needs(minutes))
            del self.queue[: len(batch)]
            self.active |= dict.fromkeys(batch, State("pending"))

    def _pack(self) -> None:
        """Make parts of all cells that wait. In its last attempt, a cell is alone, so that no other can end its job."""
        self._estimates = Estimates.from_store(self.store, self.cells)
        slots = self.runner.jobs or 1
        seconds = {id: self._estimates.seconds(self.todo[id]) for id in self.waiting}
        alone = {id: None for id, attempt in self.waiting.items() if attempt == RETRIES}
        packed = pack(
            [(id, seconds[id]) for id in self.waiting if id not in alone],
            slots,
            self.runner.max_jobs,
            self.runner.bounds,
        )
        groups = [[id for id, _ in part] for part in packed] + [[id] for id in alone]
        datasets = list(dict.fromkeys(data_id(cell.dataset) for cell in self.cells))
        for name, ids in zip(self.runner.part_names(len(groups)), groups, strict=True):
            todo = {id: (self.todo[id], self.waiting[id]) for id in ids}
            minutes = self._minutes([seconds[id] for id in ids], todo, slots)
            spec = {**self.runner.part_spec(), "minutes": minutes}
            self.queue.append(create_part(self.store, name, spec, todo, datasets))
        self.waiting.clear()

    def _minutes(self, seconds: list[float], todo: Mapping[str, tuple[Todo, int]], slots: int) -> int:
        timing = 0.0
        if any(item.timings for item, _ in todo.values()):
            limit = self.runner.resolved.suite.timing.seconds
            timing = limit or max(LEAST_SECONDS, SHARE * sum(seconds))
        return limit_minutes(duration(seconds, slots), timing, max(attempt for _, attempt in todo.values()))

    def _close(self, cancel: list[Part]) -> None:
        """Submit no more, let the jobs start no more cells, and cancel some of the jobs."""
        self._open = False
        for part in self.queue:
            part.remove()
        self.queue.clear()
        for part in self.active:
            part.stop()
        self.cluster.cancel(cancel)

    def _cancel(self) -> None:
        self._close(list(self.active))
        self._deadline = time.monotonic() + CANCEL_SECONDS

    # Endings

    def _look(self) -> None:
        for part, state in self.cluster.states(list(self.active)).items():
            if state.state == ENDED:
                self._settle(part, state)
                continue
            self.active[part] = state
            if state.state == "running":
                self._show(part)
        running = sum(state.state == "running" for state in self.active.values())
        left = sum(self._estimates.seconds(item) for id, item in self.todo.items() if id not in self._shown)
        at_once = max(1, min(running, self.runner.max_jobs)) * (self.runner.jobs or 1)
        self.runner.describe_jobs(running, len(self.active) - running + len(self.queue), left / at_once)

    def _show(self, part: Part) -> None:
        """Show what has ended in a job that runs."""
        for id, entry in part.cells.items():
            if id in self.todo and id not in self._shown and part.began(id):
                item = replace(todo_of(self.todo[id].cell, entry), timings=())
                if item.in_cell and part.rest(item) is None:
                    self._shown.add(id)
                    self.runner.shown(item, part.outcome(item))

    def _settle(self, part: Part, state: State) -> None:
        """Merge a part whose job has ended, and see to what the job left."""
        try:
            merged = part.merge(self.store)
        except OSError as error:
            raise StoreError(f"what a job did could not be merged: {error}; it is kept in {part.folder}") from None
        if not merged:
            raise StoreError(f"what a job did cannot be read after the merge; it is kept in {part.folder}")
        mine = {id: entry for id, entry in part.cells.items() if id in self.todo}
        rests = {id: part.rest(todo_of(self.todo[id].cell, entry)) for id, entry in mine.items()}
        unfinished = [id for id, rest in rests.items() if rest is not None]
        guilty = {id for id in unfinished if part.began(id)}
        if not guilty and len(unfinished) == len(mine):
            guilty = set(unfinished)  # the job did nothing at all
        for id, rest in rests.items():
            if not covers(mine[id], self.todo[id]):
                self._renew(id)  # the suite has more now than when the job was submitted
            elif rest is None:
                self._finish(self.todo[id], part.outcome(self.todo[id]))
            elif self._open and not self.stop.is_set():
                self._again(rest, part, state, mine[id]["attempt"], id in guilty)
        del self.active[part]
        part.remove()

    def _renew(self, id: str) -> None:
        if again := missing(self.store, [self.todo[id].cell]):
            self.todo[id] = again[0]
            self.waiting[id] = 0

    def _again(self, rest: Todo, part: Part, state: State, attempt: int, guilty: bool) -> None:
        """Let what a job left wait for another job, or record that no job finished it."""
        id = rest.cell.id
        if state.word == "CANCELLED" or attempt + guilty > RETRIES:
            self._finish(rest, self.runner.lost(rest, part, state, attempt))
            return
        self.todo[id] = rest
        self.waiting[id] = attempt + guilty

    def _finish(self, todo: Todo, outcome: dict[str, Any]) -> None:
        id = todo.cell.id
        if id not in self._shown:
            self._shown.add(id)
            self.runner.shown(todo, outcome)
        self.runner.ended(todo, outcome)
