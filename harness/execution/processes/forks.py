"""The handle of the zygote: it starts the process from which cells are forked, and again if it ends."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from ..environment import cell_environment
from .keeper import JOB, READY

LOAD_SECONDS = 180.0  # for a zygote to load the libraries
UNTOLD_SECONDS = 10.0  # that a zygote which was not told what its jobs need keeps others from loading
CLOSE_SECONDS = 5.0  # for a zygote to end by itself
NUDGE_SECONDS = 2.0  # between two CONT to a process that may have been stopped
_LOOK_SECONDS = 0.1
MOST_LOADING = 2
"""How many zygotes load libraries at a time: when the shared one ends, each of its jobs wants one of its own."""

_turns = threading.BoundedSemaphore(MOST_LOADING)

Need = tuple[str, str]


class Zygote:
    """A handle of the zygote, the process from which cells are forked. It starts on first use, and again if it dies."""

    @classmethod
    @functools.cache
    def shared(cls, threads: int, python: str = "") -> Zygote:
        """The shared zygote for this thread count and interpreter.

        It lives as long as this process, so later runs start at once.
        """
        zygote = cls(threads, python=python)
        atexit.register(zygote.close)
        return zygote

    def __init__(self, threads: int = 1, needs: Iterable[Need] = (), python: str = "") -> None:
        self.threads = threads
        self.python = python or sys.executable
        self.needs = tuple(needs)
        """The built-in classes that its jobs will need, by kind and name, which the next process loads at once."""
        self._lock = threading.Lock()
        self._process: ZygoteProcess | None = None

    def begin(self) -> ZygoteProcess:
        """Start the zygote now if it does not live, before it is known what else than the libraries its jobs need."""
        with self._lock:
            if self._process is None or not self._process.alive:
                self._process = ZygoteProcess(self.threads, self.python)
            return self._process

    def warm_up(self, needs: Iterable[Need] | None = None) -> ZygoteProcess:
        """Start the zygote now if it does not live, so that it loads the libraries, and what else its jobs need."""
        process = self.begin()
        with self._lock:
            self.needs = self.needs if needs is None else tuple(needs)
            process.tell(self.needs)
        return process

    def ready(self, stop: threading.Event) -> ZygoteProcess | None:
        """The process, once it has loaded the libraries. None if it ended before that, or if `stop` is set."""
        process, nudged = self.warm_up(), time.monotonic()
        while not stop.is_set() and not process.ended.is_set():
            if process.ready.wait(_LOOK_SECONDS):
                return process
            if time.monotonic() - nudged > NUDGE_SECONDS:
                nudged = time.monotonic()
                process.nudge()
        return None

    def close(self) -> None:
        """End the zygote and every cell that still runs."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()


class ZygoteProcess:
    """One process of the zygote. Its state is its own: what waits for it has nothing to do with the next one."""

    def __init__(self, threads: int, python: str = sys.executable) -> None:
        self.ready = threading.Event()
        """Whether it has loaded the libraries."""
        self.ended = threading.Event()
        self._closing = threading.Event()
        self._owner = os.getpid()
        self.python = python
        self._threads = threads
        self._told = 0.0
        self._lock = threading.Lock()
        self._jobs = 0
        self._crowd: int | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._socket, self._theirs = socket.socketpair()
        self._socket.settimeout(1.0)
        threading.Thread(target=self._guard, daemon=True, name="zygote").start()

    @property
    def alive(self) -> bool:
        """Whether it lives, and was started by this process: not by the one that this process is a fork of."""
        return self._owner == os.getpid() and not self.ended.is_set()

    @property
    def pid(self) -> int | None:
        """Its process id, or None before it has one."""
        return None if self._popen is None else self._popen.pid

    def tell(self, needs: Sequence[Need]) -> None:
        """Tell it what its jobs need, which it waits for when it has loaded the libraries. Only the first call counts.

        The socket keeps the message until the process reads it.
        """
        with self._lock:
            if not self._told:
                self._told = time.monotonic()
                with contextlib.suppress(OSError):  # it has ended
                    self._socket.sendall(json.dumps(needs).encode() + b"\n")

    @contextlib.contextmanager
    def job(self) -> Iterator[socket.socket | None]:
        """The channel to the keeper of a new job, or None if the zygote cannot be reached."""
        channel, keepers = socket.socketpair()
        with self._lock:
            self._jobs += 1
        try:
            with keepers:
                sent = self._send(keepers)
            yield channel if sent else None
        finally:
            channel.close()
            with self._lock:
                self._jobs -= 1

    def _send(self, channel: socket.socket) -> bool:
        try:
            with self._lock:
                return bool(socket.send_fds(self._socket, [JOB], [channel.fileno()]))
        except OSError:  # it has ended, or it does not read what it is sent
            self.nudge()
            return False

    def loss(self, said: str) -> tuple[str, bool]:
        """Which process was lost, the `zygote` or the `keeper` of a job, and whether no other job used the zygote.

        `said` is what the keeper said of it, if it could.
        """
        lost = said or ("zygote" if self.ended.wait(_LOOK_SECONDS) else "keeper")
        with self._lock:
            if lost == "zygote" and self._crowd is None:
                self._crowd = self._jobs  # as the first one sees it: the others leave one by one
            return lost, self._crowd == 1

    def nudge(self) -> None:
        """Let it go on if it was stopped."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None:
            self._popen.send_signal(number)  # not if it has ended

    def close(self) -> None:
        """End it and every cell that still runs. Takes at most twice CLOSE_SECONDS."""
        if not self.alive:
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.nudge()
        if not self.ready.is_set():
            self.kill()  # it loads libraries, and has forked nothing
        if not self.ended.wait(CLOSE_SECONDS):
            self.kill()
            self.ended.wait(CLOSE_SECONDS)

    def _guard(self) -> None:
        """Start the process and wait for its end.

        The kernel kills it when the thread that started it ends (see `zygote.main`), so this one lives as long.
        """
        try:
            while not _turns.acquire(timeout=_LOOK_SECONDS):
                if self._closing.is_set():
                    self._theirs.close()
                    return
            turn = True
            try:
                self._start()
                started = time.monotonic()
                while self._listen() and not self.ready.is_set():
                    now = time.monotonic()
                    if self._told and now - max(started, self._told) > LOAD_SECONDS:
                        break
                    if turn and not self._told and now - started > UNTOLD_SECONDS:
                        _turns.release()  # what began it may have given up, and others wait
                        turn = False
            finally:
                if turn:
                    _turns.release()
            while self.ready.is_set() and self._listen():
                pass
            self._wait()
        finally:
            self._socket.close()
            self.ended.set()

    def _start(self) -> None:
        env = {**os.environ, **cell_environment(self._threads)}
        arguments = [str(self._theirs.fileno()), str(os.getpid())]
        with self._theirs:
            self._popen = subprocess.Popen(
                [self.python, "-P", "-m", "trilemma.harness.execution.processes.zygote", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=env,
                pass_fds=[self._theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches only the parent, which decides what happens to cells
            )

    def _listen(self) -> bool:
        """Wait up to a second for a message. False if the process has ended."""
        assert self._popen is not None
        try:
            message = self._socket.recv(1)
        except TimeoutError:
            return self._popen.poll() is None
        except OSError:
            return False
        if message == READY:
            self.ready.set()
        return bool(message)

    def _wait(self) -> None:
        assert self._popen is not None
        try:
            self._popen.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
