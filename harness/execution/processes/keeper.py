"""The keeper: the parent of the process of a cell, which ends everything that the cell has started.

A keeper runs one job at a time, and is kept for the next because each fork of the loaded libraries costs milliseconds.
A job comes as a channel, a socket whose other end only the supervisor holds. The keeper reads the request from it, one
JSON line `{"job": FILE, "log": FILE, "env": {...}, "folder": FOLDER, "path": [...]}`, of which the last two are where
the process is to be and where it looks for modules. It answers `{"keeper": PID}` and, when the process has ended and
nothing that it started is left, `{"status": WAIT_STATUS}`. Until then the bytes TERM and KILL are orders of the
supervisor. If the channel closes, the supervisor is gone or has lost interest, and the keeper ends the job.

On Linux a keeper adopts what the cell starts, also after `setsid` or a double fork, so nothing escapes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from ...boundary import end_process
from .family import adopt_orphans, die_with, kill_descendants, wake_at_ends
from .log_file import LogFile
from .preload import for_job

TERM, KILL = b"T", b"K"
JOB, IDLE, READY = b"J", b"I", b"R"
_CHUNK = 2**18
_PIPE_BYTES = 2**20
_LOOK_SECONDS = 1.0  # between two looks at whether the zygote still lives, where the kernel does not tell


class Keeper:
    """Runs jobs inside a process that was forked from the zygote, until the zygote ends."""

    def __init__(self, zygote: int, inbox: socket.socket) -> None:
        self._zygote, self._inbox = zygote, inbox
        self._orphaned = False
        self._wake = wake_at_ends()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends come through the channel, so that they meet the right job
        for number in (signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, self._end)
        adopt_orphans()
        die_with(zygote, signal.SIGUSR1)

    def _end(self, number: int, frame: Any) -> None:
        # The kernel sends HUP and CONT to a stopped keeper whose zygote ends. Anybody else's signals are ignored.
        self._orphaned = self._orphaned or os.getppid() != self._zygote

    def serve(self, job: socket.socket | None) -> None:
        """Run jobs until the zygote ends."""
        while True:
            if job is not None:
                if not self._run(job) or self._orphaned:
                    return  # what the kernel holds back is left to the zygote, which goes on trying to kill it
                job.close()
                with contextlib.suppress(OSError):  # the zygote has ended, which the next line notices
                    self._inbox.send(IDLE)
            _, fds, _, _ = socket.recv_fds(self._inbox, 1, 1)
            if not fds:
                return
            job = socket.socket(fileno=fds[0])

    def _run(self, channel: socket.socket) -> bool:
        """Run one job. Whether nothing of it is left."""
        request = _request(channel)
        if request is None:
            return True
        log = LogFile(request["log"])
        output, end = os.pipe()
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        for_job(request["job"], request.get("path", ()))
        worker = os.fork()
        if worker == 0:
            _work(request, end)
        os.close(end)
        with contextlib.suppress(OSError):
            os.setpgid(worker, worker)  # the child does the same, because either may come first
        _tell(channel, keeper=os.getpid())
        status = self._watch(worker, channel, output, log)
        _signal(worker, signal.SIGKILL)  # its group, which is all that can be known of where nobody adopts orphans
        clean = kill_descendants()
        os.set_blocking(output, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(output, _CHUNK):
                log.write(data)
        os.close(output)
        log.close()
        _tell(channel, **({"status": status} if status is not None else {"lost": "zygote"}))
        return clean

    def _watch(self, worker: int, channel: socket.socket, output: int, log: LogFile) -> int | None:
        """Write the output of a process to its log until it ends or is to be ended. Returns its wait status."""
        poll = select.poll()
        for fd in (self._wake, channel.fileno(), output):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(1000 * _LOOK_SECONDS)}
            self._orphaned = self._orphaned or os.getppid() != self._zygote
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            if output in ready:
                data = os.read(output, _CHUNK)
                if data:
                    log.write(data)
                else:
                    poll.unregister(output)  # the process closed its output
            order = _order(channel) if channel.fileno() in ready else None
            if order == TERM:
                _signal(worker, signal.SIGTERM)
                _signal(worker, signal.SIGCONT)  # a stopped process takes TERM when it goes on
            if self._orphaned or order in (KILL, b""):
                _signal(worker, signal.SIGKILL)
                return None
            if (status := _status_of(worker)) is not None:
                return status


def keep(zygote: int, inbox: socket.socket, job: socket.socket) -> NoReturn:
    """Be a keeper, in a process that was just forked, until the zygote ends."""
    try:
        os.setpgid(0, 0)
        Keeper(zygote, inbox).serve(job)
    except BaseException:
        traceback.print_exc()
    finally:
        end_process(0)


def _request(channel: socket.socket) -> dict[str, Any] | None:
    """The request that a channel brings, or None if the supervisor has closed it."""
    text = b""
    while not text.endswith(b"\n"):
        try:
            more = channel.recv(2**16)
        except OSError:
            return None
        if not more:
            return None
        text += more
    request: dict[str, Any] = json.loads(text)
    return request


def _order(channel: socket.socket) -> bytes:
    """An order of the supervisor; empty if it has closed the channel."""
    with contextlib.suppress(OSError):
        return channel.recv(1)
    return b""


def _tell(channel: socket.socket, **reply: Any) -> None:
    with contextlib.suppress(OSError):  # the supervisor has gone
        channel.sendall(json.dumps(reply).encode() + b"\n")


def _status_of(worker: int) -> int | None:
    """The wait status of a process if it has ended. Other children that have ended are reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == worker:
                return ended[1]
    return None


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _go_to(request: dict[str, Any]) -> None:
    """Be where the supervisor is, and look for modules where it does."""
    if "folder" in request:
        with contextlib.suppress(OSError):
            os.chdir(request["folder"])
    if "path" in request:
        sys.path[:] = request["path"]
        importlib.invalidate_caches()


def _work(request: dict[str, Any], output: int) -> NoReturn:
    """Do a job inside a new process, and end it."""
    code, keeper = 70, os.getppid()
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        die_with(keeper, signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 4096)
        os.environ.update(request["env"])
        _go_to(request)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # when the machine runs out of memory, end the cell and not the supervisor
        from ..worker import work

        code = work(request["job"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        end_process(code)
