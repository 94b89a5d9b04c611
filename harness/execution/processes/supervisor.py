"""The supervisor of cell processes: it starts a process, watches its time and memory limits, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ...planning.suite import Limits
from .family import descendants, kill_all, resident_bytes
from .forks import NUDGE_SECONDS, Zygote
from .keeper import KILL, TERM

GRACE_SECONDS = 5.0  # between TERM and KILL, and between KILL by the keeper and KILL of the keeper
POLL_SECONDS = 0.1
START_SECONDS = 60.0  # for a zygote that is ready to start a job; then it hangs, and is killed


@dataclass(frozen=True)
class Ending:
    """How a process ended: by `exit` with a code, by a `signal`, or by the supervisor for another cause.

    The causes `zygote` and `keeper` are losses of infrastructure: that process ended, and the job with it. `alone` says
    that no other job used this zygote then. `worker` is the loss of the machine or process that supervised it, `code`
    times. `unrecorded` is an exit without the records that the job was to make, which `lacks` names.
    """

    cause: str  # exit, signal, timeout, out-of-memory, interrupted, zygote, keeper, worker, unrecorded
    code: int = 0
    elapsed: float = 0.0
    phase: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    alone: bool = False
    lacks: str = ""
    peak_memory: int = 0
    """The most memory (bytes) that the process and what it started were seen to use."""
    said: str = ""
    """What the infrastructure said of it, if anything."""
    environment: dict[str, Any] | None = None
    """The environment of the process, if it ran on another machine."""


class Supervisor:
    """Runs jobs within limits, each in its own process."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote
        self.stop = threading.Event()
        """If set, running processes get TERM, then KILL, and `supervise` returns with cause `interrupted`."""
        self.kill = threading.Event()
        """If set, running processes get KILL at once."""

    def wait(self) -> None:
        """Wait until a job starts at once, or until the run is stopped."""
        self.zygote.ready(self.stop)

    def supervise(
        self,
        job: Path,
        log: Path,
        events: Path,
        limits: Limits,
        *,
        env: dict[str, str] | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
        zygote: Zygote | None = None,
    ) -> Ending:
        """Run one job file, and return how it ended. The process appends JSON lines to the file `events`.

        Time counts from the start of the process. It comes from `zygote` if one is given.
        """
        process = (zygote or self.zygote).ready(self.stop)
        if self.stop.is_set():
            return Ending("interrupted")
        if process is None:
            return Ending("zygote")
        # The zygote keeps the environment of its start. Send the current one, except for the thread counts.
        current = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        request = {"job": str(job), "log": str(log), "env": {**current, **(env or {})}, **_places(process.python)}
        reader = _EventReader(events, on_event)
        with process.job() as channel:
            if channel is None:
                return Ending("zygote")
            watch = _Watch(self, channel, limits, reader, process.nudge)
            watch.run(json.dumps(request).encode() + b"\n")
            cause, code, alone = watch.cause, 0, False
            if watch.hung:
                process.kill()
                cause = "zygote"
            elif not cause and watch.status is None:
                cause, alone = process.loss(watch.lost)
            elif not cause and watch.status is not None:
                signaled = os.WIFSIGNALED(watch.status)
                cause = "signal" if signaled else "exit"
                code = os.WTERMSIG(watch.status) if signaled else os.WEXITSTATUS(watch.status)
        alone = alone and watch.started
        return Ending(cause, code, watch.elapsed, reader.phase, reader.events, alone, peak_memory=watch.peak_memory)


def _places(python: str) -> dict[str, Any]:
    """Where this process is and looks for modules, which may have changed since the zygote started.

    An interpreter of another environment has modules of its own.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # the folder was removed
        found["folder"] = os.getcwd()
    if python == sys.executable:
        found["path"] = [place for place in sys.path if isinstance(place, str)]
    return found


class _Watch:
    """The watch over one job, through the channel to its keeper."""

    def __init__(
        self,
        supervisor: Supervisor,
        channel: socket.socket,
        limits: Limits,
        reader: _EventReader,
        nudge: Callable[[], None],
    ) -> None:
        self._supervisor, self._channel, self._limits, self._reader = supervisor, channel, limits, reader
        self._nudge = nudge
        self._keeper: psutil.Process | None = None
        self._below: list[psutil.Process] = []
        self._buffer = b""
        self._begun = self._nudged = time.monotonic()
        self._ordered_at, self._order = 0.0, b""
        self.cause, self.lost = "", ""
        self.status: int | None = None
        self.hung = False
        self.peak_memory = 0

    @property
    def started(self) -> bool:
        """Whether the keeper has started the process."""
        return self._keeper is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self._begun

    def run(self, request: bytes) -> None:
        """Send the request and watch until the job has ended."""
        self._channel.setblocking(False)
        poll = select.poll()
        while True:
            poll.register(self._channel, select.POLLIN | (select.POLLOUT if request else 0))
            ready = poll.poll(1000 * POLL_SECONDS)
            if request:
                with contextlib.suppress(OSError):
                    request = request[self._channel.send(request) :]
            heard = any(event & ~select.POLLOUT for _, event in ready)
            if not (self._hear() if heard else self._look()):
                break
        self._reader.read()
        if self.status is None:
            kill_all(self._below)  # of a job that was lost, what could be left

    def _hear(self) -> bool:
        """Read replies of the keeper. Whether there may be more."""
        try:
            chunk = self._channel.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, psutil.Error):
                reply = json.loads(line)
                self.status = reply.get("status", self.status)
                self.lost = reply.get("lost", self.lost)
                if "keeper" in reply:
                    self._begun = time.monotonic()
                    self._keeper = psutil.Process(reply["keeper"])
        return bool(chunk) and self.status is None and not self.lost

    def _look(self) -> bool:
        """Compare with the limits, and give orders to the keeper. False if there is nothing more to wait for."""
        self._reader.read()
        now, stop, kill = time.monotonic(), self._supervisor.stop.is_set(), self._supervisor.kill.is_set()
        if now - self._nudged > NUDGE_SECONDS:
            self._nudged = now
            self._go_on()
        if self._keeper is None:
            self.cause = "interrupted" if stop else ""
            self.hung = now - self._begun > START_SECONDS
            return not (self.hung or stop)
        below = self._below = descendants(self._keeper.pid, self._below)
        resident = resident_bytes(below)
        self.peak_memory = max(self.peak_memory, resident)
        if not self.cause:
            if stop:
                self.cause = "interrupted"
            elif self.elapsed > self._limits.seconds:
                self.cause = "timeout"
            elif resident > self._limits.memory_gib * 2**30:
                self.cause = "out-of-memory"
            if self.cause:
                self._give(KILL if self.cause == "out-of-memory" else TERM)
        late = now - self._ordered_at > GRACE_SECONDS
        if self._order == TERM and (kill or late):
            self._give(KILL)
        elif self._order == KILL and late:
            # The keeper is stopped or stuck. Without it, the zygote is the parent of what is left.
            kill_all([*below, self._keeper])
            return now - self._ordered_at < 2 * GRACE_SECONDS
        return True

    def _give(self, order: bytes) -> None:
        self._order, self._ordered_at = order, time.monotonic()
        with contextlib.suppress(OSError):
            self._channel.send(order)

    def _go_on(self) -> None:
        """Let a stopped keeper or zygote go on."""
        self._nudge()
        if self._keeper is not None:
            with contextlib.suppress(psutil.Error):
                self._keeper.send_signal(signal.SIGCONT)


class _EventReader:
    """Reads the file to which a worker appends its events."""

    def __init__(self, file: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._file, self._on_event = file, on_event
        self._offset = 0
        self.phase = "start"
        self.events: list[dict[str, Any]] = []

    def read(self) -> None:
        try:
            if os.stat(self._file).st_size == self._offset:
                return
            with open(self._file, "rb") as stream:
                stream.seek(self._offset)
                chunk = stream.read()
        except OSError:
            return
        whole, newline, _ = chunk.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # a line cut by a full disk
                continue
            if "phase" in event:
                self.phase = event["phase"]
            if event.get("keep"):
                self.events.append(event)
            self._on_event(event)
