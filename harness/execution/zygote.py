"""The zygote, the process from which cells are forked. It loads numeric libraries once; a cell then starts in 0.03 s.

The zygote reads one JSON request per line on standard input, `{"job": FILE, "log": FILE, "env": {...}}`. It forks a
process in its own process group for the request, and answers on standard output `{"started": PID, "job": FILE}` and,
when the process ends, `{"ended": PID, "status": WAIT_STATUS}`. When the input ends, it kills every running group.

The zygote trains nothing itself, so it has no threads and no accelerator context when it forks. It is not a
`multiprocessing` forkserver, because a forkserver imports the main module of the user again, which fails for notebooks
and for scripts without a guard.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import sys
import traceback
from typing import Any

from .preload import essentials, for_job


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries while they load must not mix with the replies
    _preload()
    running: set[int] = set()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    buffer = b""
    replies.write(json.dumps({"ready": os.getpid()}) + "\n")
    while True:
        for key, _ in selector.select():
            if key.fd == wake_read:
                os.read(wake_read, 4096)
                _reap(running, replies)
                continue
            chunk = os.read(requests.fileno(), 65536)
            if not chunk:
                for pid in running:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
                return
            buffer += chunk
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                request = json.loads(line)
                for_job(request["job"])
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    _child(request)
                running.add(pid)
                with contextlib.suppress(OSError):
                    os.setpgid(pid, pid)  # the child does the same, because either may come first
                replies.write(json.dumps({"started": pid, "job": request["job"]}) + "\n")


def _preload() -> None:
    """Load what every job needs."""
    essentials()


def _reap(running: set[int], replies: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        running.discard(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # processes that the cell started and left behind
        replies.write(json.dumps({"ended": pid, "status": status}) + "\n")


def _child(request: dict[str, Any]) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        _die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 1024)
        os.environ.update(request["env"])
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # when the machine runs out of memory, end the cell and not the supervisor
        from .worker import work

        code = work(request["job"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
