"""The supervisor of cell processes: it starts a process, watches its time and memory limits, and ends it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..planning.suite import Limits
from .resident import resident_bytes

GRACE_SECONDS = 5.0  # between TERM and KILL
POLL_SECONDS = 0.1
LOST = -1  # in place of a pid or wait status: the zygote has ended


@dataclass(frozen=True)
class Ending:
    """How a process ended: by `exit` with a code, by a `signal`, or by the supervisor for another cause."""

    cause: str  # exit, signal, timeout, out-of-memory, interrupted, zygote
    code: int = 0
    elapsed: float = 0.0
    phase: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    peak_memory: int = 0
    """The most memory (bytes) that the process and what it started were seen to use."""


class Zygote:
    """A handle of the zygote, the process from which cells are forked. It starts on first use, and again if it dies."""

    @classmethod
    @functools.cache
    def shared(cls, threads: int) -> Zygote:
        """The shared zygote for this thread count. It lives as long as this process, so later runs start at once."""
        zygote = cls(threads)
        atexit.register(zygote.close)
        return zygote

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started: dict[str, queue.Queue[tuple[int, queue.Queue[int]]]] = {}
        self._ended: dict[int, queue.Queue[int]] = {}
        self._ready = threading.Event()

    def start(self, job: Path, log: Path, env: dict[str, str]) -> tuple[int, queue.Queue[int]]:
        """Fork a process for a job file.

        Returns its pid and a queue that yields its wait status when it ends. Both are LOST if the zygote ends.
        """
        reply: queue.Queue[tuple[int, queue.Queue[int]]] = queue.Queue()
        # The zygote keeps the environment of its start. Send the current one, except for the thread counts.
        current = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        request = json.dumps({"job": str(job), "log": str(log), "env": {**current, **env}}) + "\n"
        with self._lock:
            process = self._alive()
            self._started[str(job)] = reply
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(request.encode())
                process.stdin.flush()
        return reply.get()

    def close(self) -> None:
        """End the zygote and every cell that still runs."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def warm_up(self) -> None:
        """Start the zygote now, so that it loads the libraries."""
        with self._lock:
            self._alive()

    def wait(self) -> None:
        """Wait until the zygote has loaded the libraries, so that the next job starts at once."""
        self.warm_up()
        self._ready.wait()

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        threads = str(self._threads)
        env = {
            **os.environ,
            # Thread counts must be set before the numeric libraries load.
            **{f"{name}_NUM_THREADS": threads for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")},
            "PYTHONHASHSEED": "0",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        }
        self._ready.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trilemma.harness.execution.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C reaches only the parent, which decides what happens to cells
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            reply = json.loads(line)
            with self._lock:
                if "ready" in reply:
                    self._ready.set()
                elif "started" in reply:
                    ended = self._ended[reply["started"]] = queue.Queue()
                    self._started.pop(reply["job"]).put((reply["started"], ended))
                elif "ended" in reply:
                    self._ended.pop(reply["ended"]).put(reply["status"])
        with self._lock:  # the zygote has ended, and its cells with it
            self._ready.set()
            for waiting in self._started.values():
                waiting.put((LOST, queue.Queue()))
            for ended in self._ended.values():
                ended.put(LOST)
            self._started.clear()
            self._ended.clear()


class Supervisor:
    """Runs jobs within limits, each in its own process."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.stop = threading.Event()
        """If set, running processes get TERM, then KILL, and `supervise` returns with cause `interrupted`."""
        self.kill = threading.Event()
        """If set, running processes get KILL at once."""

    def wait(self) -> None:
        """Wait until a job starts at once."""
        self._zygote.wait()

    def supervise(
        self,
        job: Path,
        log: Path,
        events: Path,
        limits: Limits,
        *,
        env: dict[str, str] | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> Ending:
        """Run one job file, and return how it ended. The process appends JSON lines to the file `events`."""
        started = time.monotonic()
        pid, ended = self._zygote.start(job, log, env or {})
        if pid == LOST:
            return Ending("zygote", elapsed=time.monotonic() - started)
        reader = _EventReader(events, on_event)
        cause, term_at, peak = "", 0.0, 0
        while True:
            try:
                status = ended.get(timeout=POLL_SECONDS)
                break
            except queue.Empty:
                pass
            reader.read()
            now = time.monotonic()
            if self.kill.is_set() or (cause and now - term_at > GRACE_SECONDS):
                _signal_group(pid, signal.SIGKILL)
            if cause:
                continue
            if self.stop.is_set():
                cause = "interrupted"
            elif now - started > limits.seconds:
                cause = "timeout"
            else:
                resident = resident_bytes(pid)
                peak = max(peak, resident)
                if resident > limits.memory_gib * 2**30:
                    cause = "out-of-memory"
            if cause:
                term_at = now
                _signal_group(pid, signal.SIGKILL if cause == "out-of-memory" else signal.SIGTERM)
        reader.read()
        elapsed = time.monotonic() - started
        if status == LOST:
            return Ending("zygote", 0, elapsed, reader.phase, reader.events)
        if cause:
            return Ending(cause, 0, elapsed, reader.phase, reader.events)
        if os.WIFSIGNALED(status):
            return Ending("signal", os.WTERMSIG(status), elapsed, reader.phase, reader.events)
        return Ending("exit", os.WEXITSTATUS(status), elapsed, reader.phase, reader.events, peak)


class _EventReader:
    """Reads the file to which a worker appends its events."""

    def __init__(self, file: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._file, self._on_event = file, on_event
        self._offset = 0
        self.phase = "start"
        self.events: list[dict[str, Any]] = []

    def read(self) -> None:
        try:
            with self._file.open("rb") as stream:
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


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
