"""The zygote, the process that loads numeric libraries once, so that a cell starts in 0.02 s.

The supervisor first sends a line with the built-in classes that its jobs will need, then a byte for each job, with the
channel of the job (see `keeper`) as a descriptor. The zygote hands the channel to an idle keeper, or to a new one that
it forks. It takes no part in the job, so a cell goes on while the zygote is stopped. Its only answer is the byte READY,
when the libraries are loaded. All of this goes through a private socket, so what libraries or a `sitecustomize` print
does not matter. When the socket closes, everything ends.

The zygote trains nothing itself, so it has no threads and no accelerator context when it forks. It is not a
`multiprocessing` forkserver, because a forkserver imports the main module of the user again, which fails for notebooks
and for scripts without a guard.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback

import psutil

from .family import adopt_orphans, collapse, die_with, heap_pages, kill_all, kill_descendants, wake_at_ends
from .keeper import IDLE, JOB, READY, keep
from .preload import essentials, load

FEW_JOBS = 4  # of fewer, the forks are not worth making cheaper
_HUNT_SECONDS = 0.05  # between two looks for orphans
_LEAVE_SECONDS = 1.0  # for keepers to end by themselves


def main() -> None:
    """Serve until the parent closes the socket whose descriptor is the first argument. The second is its pid."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(int(sys.argv[2]), signal.SIGKILL)
    adopt_orphans()
    control = socket.socket(fileno=int(sys.argv[1]))
    essentials()
    load(json.loads(_line(control) or "[]"))
    try:
        control.send(READY)
    except OSError:  # the parent has ended, or needs no more
        return
    Server(control).serve()


def _line(control: socket.socket) -> bytes:
    """The line that comes first: what the jobs will need. It is read byte by byte, because jobs follow it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = control.recv(1)
        if not byte:
            return b""
        line += byte
    return line


class Server:
    """Forks keepers, and gives them jobs."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._keepers: dict[int, socket.socket] = {}
        self._idle: list[int] = []
        self._old: set[int] = set()  # keepers that were forked before forks became cheaper
        self._jobs = 0
        self._hunting = False
        self._wake = wake_at_ends()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until the parent closes its end of the socket."""
        while True:
            for key, _ in self._selector.select(_HUNT_SECONDS if self._hunting else None):
                if key.fd == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif key.fileobj is not self._control:
                    self._rest(key.data)
                elif not self._take():
                    self._leave()
                    return
            if self._hunting:
                self._hunt()

    def _take(self) -> bool:
        """Take a job. False if the parent has ended."""
        try:
            message, fds, _, _ = socket.recv_fds(self._control, 1, 1)
        except OSError:
            return False
        if message != JOB:
            return bool(message)
        self._jobs += 1
        if self._jobs == FEW_JOBS:
            self._collapse()
        for fd in fds:
            while not self._hand_over(fd):
                pass
            os.close(fd)
        return True

    def _hand_over(self, fd: int) -> bool:
        """Give a job to a keeper. False if the keeper has just ended."""
        if not self._idle:
            self._fork(fd)
            return True
        pid = self._idle.pop()
        try:
            socket.send_fds(self._keepers[pid], [JOB], [fd])
        except OSError:
            return False
        return True

    def _fork(self, fd: int) -> None:
        zygote, (ours, theirs) = os.getpid(), socket.socketpair()
        try:
            pid = os.fork()
        except OSError:  # no memory, or too many processes: the supervisor sees the channel close, and tries again
            traceback.print_exc()
            ours.close()
            theirs.close()
            return
        if pid == 0:
            self._selector.close()
            for other in (self._control, ours, *self._keepers.values()):
                other.close()
            keep(zygote, theirs, socket.socket(fileno=fd))
        theirs.close()
        self._keepers[pid] = ours
        if self._jobs < FEW_JOBS:
            self._old.add(pid)
        self._selector.register(ours, selectors.EVENT_READ, pid)

    def _rest(self, pid: int) -> None:
        """Note that a keeper has become idle."""
        if pid not in self._keepers:
            return  # dismissed just before
        try:
            message = self._keepers[pid].recv(1)
        except OSError:
            message = b""
        if message == IDLE and not (self._jobs >= FEW_JOBS and pid in self._old):
            self._idle.append(pid)
        else:
            self._dismiss(pid)  # it has ended, or it ends now because a new one is cheaper

    def _dismiss(self, pid: int) -> None:
        self._selector.unregister(self._keepers[pid])
        self._keepers[pid].close()
        del self._keepers[pid]
        self._old.discard(pid)
        if pid in self._idle:
            self._idle.remove(pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid in self._keepers:
                    self._dismiss(pid)
                self._hunting = True

    def _hunt(self) -> None:
        """Kill orphans, which keepers that were killed have left."""
        orphans = [child for child in psutil.Process().children() if child.pid not in self._keepers]
        kill_all(orphans)
        self._hunting = bool(orphans)

    def _collapse(self) -> None:
        """Make forks cheaper, which takes most of a second.

        It is done before a job starts and not meanwhile, so that it disturbs no job whose times are measured. Keepers
        that were forked before hold the old memory, so they are dismissed when they become idle.
        """
        for page in heap_pages():
            collapse(page)
        for pid in [pid for pid in self._idle if pid in self._old]:
            self._dismiss(pid)

    def _leave(self) -> None:
        for pid, inbox in self._keepers.items():
            inbox.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        psutil.wait_procs(psutil.Process().children(), _LEAVE_SECONDS)
        kill_descendants()


if __name__ == "__main__":
    main()
