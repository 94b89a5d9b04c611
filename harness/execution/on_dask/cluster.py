"""The connection to a Dask cluster: one that the user names, or one that is started on this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import dask
from distributed import Client

from ...errors import TrilemmaError

CONNECT_SECONDS = 15.0
START_SECONDS = 120.0  # of a cluster on this machine
CLOSE_SECONDS = 15.0
_LOGGERS = ("distributed", "tornado", "asyncio", "dask")


@dataclass(frozen=True)
class DaskOptions:
    """Which cluster to use; without an address and a file, the one that Dask is configured with, or a new local one."""

    scheduler_address: str | None = None
    scheduler_file: str | None = None
    worker_wait: float = 600.0
    """The seconds to wait for the first worker, and for another when all have gone."""


def find_scheduler(options: DaskOptions) -> str | None:
    """The address of the scheduler that the options or the configuration of Dask name, if any.

    Raises TrilemmaError for a scheduler file that does not name one.
    """
    if options.scheduler_address and options.scheduler_file:
        raise TrilemmaError("--scheduler-address and --scheduler-file were both given; give one of them")
    if options.scheduler_file:
        return _address_in(Path(options.scheduler_file))
    return options.scheduler_address or dask.config.get("scheduler-address", None)


def _address_in(file: Path) -> str:
    try:
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
    except FileNotFoundError:
        raise TrilemmaError(
            f"there is no scheduler file {file}; start `dask scheduler --scheduler-file {file}` first"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrilemmaError(f"scheduler file {file} cannot be read: {type(error).__name__}: {error}") from None
    return str(address)


def connect(address: str) -> Client:
    """Connect to a scheduler. Raises TrilemmaError if none answers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # differing versions are reported by `differences`
            return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="trilemma")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrilemmaError(
            f"no Dask scheduler answered at {address}: {reason}; check the address, and that the scheduler runs "
            "(`dask scheduler` prints its address, such as tcp://10.0.0.1:8786)"
        ) from None


class LocalNode:
    """A cluster on this machine, in a process that ends with this one."""

    def __init__(self, workers: int, stopped: Callable[[], bool]) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile(prefix="trilemma-dask-")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trilemma.harness.execution.on_dask.node"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C reaches only the parent, which decides what happens to cells
        )
        try:
            answer = self._ask({"workers": workers}, stopped)
        except BaseException:
            self.close()
            raise
        self.address: str = answer["address"]
        self.dashboard: str = answer["dashboard"]

    def _ask(self, settings: dict[str, Any], stopped: Callable[[], bool]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            self._process.stdin.flush()
        deadline, buffer = time.monotonic() + START_SECONDS, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not buffer.endswith(b"\n"):
                if stopped():
                    raise TrilemmaError("stopped before the Dask cluster on this machine had started")
                if time.monotonic() > deadline:
                    raise TrilemmaError(f"the Dask cluster on this machine did not start in time; {self._said()}")
                if selector.select(timeout=0.2):
                    chunk = os.read(self._process.stdout.fileno(), 4096)
                    if not chunk:
                        raise TrilemmaError(f"the Dask cluster on this machine could not start; {self._said()}")
                    buffer += chunk
        answer: dict[str, Any] = json.loads(buffer)
        return answer

    def _said(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"it said: {lines[-1]}" if lines else "it said nothing"

    @property
    def alive(self) -> bool:
        """Whether the process of the scheduler runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the cluster. Its workers end their cells."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what is left, or what hangs
        self._process.wait()
        self._process.stdout.close()
        self._log.close()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the messages of Dask away from the terminal. What matters is reported by the executor."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOGGERS]
    levels = {name: logging.getLogger(name).level for name in {*names, *_LOGGERS}}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
