"""The executor on a Dask cluster. It places each cell on a worker itself, so it knows which cell a lost worker ran."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from distributed import KilledWorker

from ...errors import TrilemmaError
from ..executors import Setting, Work
from ..supervisor import Ending
from .cluster import DaskOptions, LocalNode, connect, find_scheduler, quiet
from .hosts import Hosts, token_in, wait_for_hosts
from .orders import Entry, choose, fetched, order_for
from .task import run_cell, stop_cells, topic

POLL_SECONDS = 0.2
LOOK_SECONDS = 0.5  # between two looks at the workers
STOP_SECONDS = 20.0  # for running cells to end after Ctrl-C
KILL_SECONDS = 3.0  # and after a second one
ASK_SECONDS = 1.0  # between two requests to end cells


class DaskExecutor:
    """Runs cells on the workers of a Dask cluster, each supervised by its worker in a process of its own.

    A cell that is lost with its worker runs again, on a worker that runs nothing else. So what one cell does to its
    worker cannot make others fail. With `share` false, run directories are not shared even with workers that could.
    Raises TrilemmaError if the cluster cannot be used.
    """

    def __init__(self, setting: Setting, options: DaskOptions, *, share: bool = True) -> None:
        self._setting, self._options, self._share = setting, options, share
        self._run = uuid.uuid4().hex[:12]
        self.failed = ""
        self._lock = threading.RLock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._waiting: deque[Entry] = deque()
        self._running: list[Entry] = []  # also those whose results are being fetched
        self._fetched: set[Entry] = set()
        self._by_cell: dict[str, Entry] = {}
        self._stopping = self._killing = self._asked = 0.0
        self._peopled = time.monotonic()
        self._told: set[str] = set()
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        self._threads = [
            threading.Thread(target=self._repeat, args=(self._look, LOOK_SECONDS, self._closing), daemon=True),
            threading.Thread(target=self._repeat, args=(self._drive, POLL_SECONDS, self._wake), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _open(self, stack: contextlib.ExitStack) -> None:
        setting, stopped = self._setting, self._setting.supervisor.stop.is_set
        stack.enter_context(quiet())
        address = find_scheduler(self._options)
        self.local = address is None
        self._node: LocalNode | None = None
        if self.local and setting.machine.device == "cuda" and not setting.machine.gpus:
            raise TrilemmaError("torch sees no GPU here; use --device cpu, or a cluster with GPUs")
        if address is None:
            self._node = stack.enter_context(contextlib.closing(LocalNode(setting.machine.jobs, stopped)))
            address = self._node.address
            if self._node.dashboard:
                setting.message(f"dashboard of the Dask cluster: {self._node.dashboard}")
        self._client = connect(address)
        stack.callback(self._disconnect)
        token = stack.enter_context(token_in(setting.store.path.resolve()))
        self._gpus = setting.machine.device == "cuda" and not self.local
        self._hosts = Hosts(self._client, setting, token, self._gpus)
        wait_for_hosts(self._hosts, self._options.worker_wait, stopped, setting.message, address)
        for remark in sorted(self._hosts.remarks):
            setting.message(f"a Dask worker differs from this machine: {remark}")
        self._client.subscribe_topic(topic(self._run), self._heard)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="results")

    def _disconnect(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    # What the schedule uses

    @property
    def slots(self) -> int:
        """How many cells may run at a time. It follows workers that come and go."""
        total = sum(len(host.places) for host in list(self._hosts.ready.values()))
        most = self._setting.machine.given_jobs
        return total if most is None or self.local else min(total, most)

    def submit(self, work: Work) -> Future[Ending]:
        """Run the job of a cell on a worker."""
        entry = Entry(work, Future())
        with self._lock:
            if self.failed or self._closing.is_set():
                entry.ending.set_result(Ending("interrupted"))
            else:
                self._by_cell[work.cell.id] = entry
                self._waiting.append(entry)
        self._wake.set()
        return entry.ending

    def close(self) -> None:
        """End the cells that still run, and leave the cluster. One that was started for this run is closed."""
        if self._running and not self.failed:
            self._ask_to_end(kill=True).join(timeout=KILL_SECONDS)
        self._closing.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=15)
        self._end_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stack.close()

    # The two threads

    def _repeat(self, step: Callable[[], None], seconds: float, wake: threading.Event) -> None:
        """Repeat a step until the executor is closed. An error in it ends the run, so nothing waits for ever."""
        while not self._closing.is_set():
            try:
                if not self.failed:
                    step()
            except Exception as error:
                self._fail(f"the Dask cluster cannot be used any more: {type(error).__name__}: {error}")
            if wake.wait(seconds) and wake is self._wake:
                wake.clear()

    def _look(self) -> None:
        """See which workers there are."""
        if self._node is not None and not self._node.alive:
            self._fail("the Dask cluster on this machine has ended")
        elif lost := self._hosts.look():
            self._fail(lost)
        for reason in list(self._hosts.refused.values()):
            self._tell(f"a Dask worker is not used: {reason}")
        now, wait = time.monotonic(), self._options.worker_wait
        if self._hosts.ready or self._stopping:
            self._peopled = now
        elif now - self._peopled > wait:
            self._fail(f"the Dask cluster had no worker for {wait:g} s")
        elif now - self._peopled > 5:
            self._tell(f"no Dask worker is left; waiting for another (at most {wait:g} s)")
        self._wake.set()

    def _drive(self) -> None:
        """Take what has ended, and give what waits to workers."""
        with self._lock:
            cells = Counter(entry.host for entry in self._running)
            for entry in list(self._running):
                if entry not in self._fetched:
                    self._examine(entry, alone=cells[entry.host] == 1)
            if self._setting.supervisor.stop.is_set():
                self._stop()
            if self._setting.stopped():
                while self._waiting:
                    self._resolve(self._waiting.popleft(), Ending("interrupted"))
            for entry, host in choose(self._waiting, self._running, list(self._hosts.ready.values())):
                self._waiting.remove(entry)
                entry.take(host)
                self._start(entry)

    def _start(self, entry: Entry) -> None:
        assert entry.host is not None
        order = order_for(entry, self._run, self._setting, entry.host.shared and self._share)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a checkpoint which is sent along is large
            entry.task = self._client.submit(
                run_cell,
                order,
                key=f"trilemma-{entry.work.cell.id}-{uuid.uuid4().hex[:8]}",
                workers=[entry.host.address],
                allow_other_workers=False,
                resources={"GPU": 1} if self._gpus else None,
                pure=False,
            )
        self._running.append(entry)
        entry.task.add_done_callback(lambda task: self._wake.set())

    def _examine(self, entry: Entry, alone: bool) -> None:
        """See what has become of a cell that was given to a worker. `alone` says that nothing else ran there."""
        assert entry.host is not None
        status = entry.task.status
        error = entry.task.exception(timeout=POLL_SECONDS) if status == "error" else None
        if status == "finished":
            self._fetched.add(entry)
            self._pool.submit(self._fetch, entry, entry.task, entry.host.shared and self._share)
        elif entry.host.address not in self._hosts.known or isinstance(error, KilledWorker):
            entry.alone += alone
            self._lost(entry)
        elif error is not None:
            self._lost(entry, f"{type(error).__name__}: {error}")
        elif status != "pending":  # cancelled with a lost connection
            self._lost(entry)

    def _lost(self, entry: Entry, trouble: str = "") -> None:
        """Let a cell run again that was lost with its worker or the connection, or give it up."""
        self._running.remove(entry)
        self._fetched.discard(entry)
        entry.leave()
        entry.lost(trouble)
        if self._stopping:
            self._resolve(entry, Ending("interrupted"))
        elif entry.hopeless:
            self._resolve(entry, Ending("worker", entry.losses, said=entry.trouble))
        else:
            self._waiting.appendleft(entry)
        self._wake.set()

    def _fetch(self, entry: Entry, task: Any, shared: bool) -> None:
        """Fetch the result of a task, and what its cell has committed."""
        ending, trouble = fetched(task, entry.work, self._setting, shared)
        with self._lock:
            if entry not in self._fetched:
                return  # it was ended meanwhile
            if ending is None:
                self._lost(entry, trouble)
                return
            self._fetched.remove(entry)
            self._running.remove(entry)
            entry.leave()
            self._resolve(entry, ending)

    # The end

    def _stop(self) -> None:
        """Ask the workers to end their cells, as often as it takes; after a time, do not wait for them any more."""
        now, kill = time.monotonic(), self._setting.supervisor.kill.is_set()
        self._stopping = self._stopping or now
        self._killing = self._killing or (now if kill else 0.0)
        if now - self._asked > ASK_SECONDS:
            self._asked = now
            self._ask_to_end(kill)
        if now - self._stopping > STOP_SECONDS or (kill and now - self._killing > KILL_SECONDS):
            self._end_all()

    def _ask_to_end(self, kill: bool) -> threading.Thread:
        """Ask the workers to end their cells, in a thread, because one that hangs does not answer."""
        hosts = sorted({entry.host.address for entry in list(self._running) if entry.host is not None})

        def ask() -> None:
            with contextlib.suppress(Exception):
                self._client.run(stop_cells, self._run, kill, workers=hosts, on_error="ignore")

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return thread

    def _fail(self, reason: str) -> None:
        """End the run, because the cluster is lost. What has not ended counts as interrupted."""
        with self._lock:
            self.failed = self.failed or reason
            self._end_all()

    def _end_all(self) -> None:
        with self._lock:
            entries = [*self._waiting, *self._running]
            self._waiting.clear()
            self._running.clear()
            self._fetched.clear()
            for entry in entries:
                with contextlib.suppress(Exception):
                    entry.leave()
                self._resolve(entry, Ending("interrupted"))

    def _resolve(self, entry: Entry, ending: Ending) -> None:
        if self._by_cell.get(entry.work.cell.id) is entry:
            del self._by_cell[entry.work.cell.id]
        if not entry.ending.done():
            entry.ending.set_result(ending)
        self._wake.set()

    # Messages

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass an event of a cell on."""
        entry = self._by_cell.get(event[1]["cell"])
        if entry is not None:
            entry.work.on_event(event[1]["event"])

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._setting.message(text)
