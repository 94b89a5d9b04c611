"""The workers of a cluster that may run cells: who they are, whether they fit, and which of their places are free."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future

from ...errors import TrilemmaError
from ..executors import Setting
from .installation import differences, installation
from .task import check_in

CONTACT_SECONDS = 30.0  # without an answer of the scheduler, after which it counts as lost
ANSWER_SECONDS = 10.0
ANSWER_WAIT_SECONDS = 60.0  # for all workers that are there, before the others begin


Place = int | str | None
"""A place for one cell: the GPU that it may use, by its number on the worker or by its name, or None."""


@dataclass(eq=False)
class Host:
    """A worker, and its places that are free."""

    address: str
    shared: bool
    places: tuple[Place, ...]
    free: list[Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = list(self.places)

    @property
    def busy(self) -> int:
        """How many cells run on it."""
        return len(self.places) - len(self.free)


class Hosts:
    """The workers that the scheduler knows and that have checked in.

    A worker checks in with a task of its own: it says what is installed on it and how many cells it takes, and tries to
    read a token in the run directory. `refused` are workers that cannot be used, with the reason.
    """

    def __init__(self, client: Client, setting: Setting, token: Token, gpus: bool) -> None:
        self._client, self._setting, self._token, self._gpus = client, setting, token, gpus
        self._asked: dict[str, Future] = {}
        self._contact = time.monotonic()
        self.known: set[str] = set()
        """The addresses of all workers that the scheduler knows."""
        self.ready: dict[str, Host] = {}
        self.refused: dict[str, str] = {}
        self.remarks: set[str] = set()

    @property
    def asked(self) -> bool:
        """Whether a worker has not answered yet."""
        return bool(self._asked)

    def look(self) -> str:
        """Ask the scheduler for its workers, and new ones to check in. Returns why it is lost; empty if it is not."""
        try:
            found = self._client.sync(self._client.scheduler.ncores, workers=None, callback_timeout=ANSWER_SECONDS)
        except Exception as error:
            silent = time.monotonic() - self._contact
            if silent < CONTACT_SECONDS and self._client.status in ("running", "connecting"):
                return ""
            return f"the Dask scheduler has not answered for {silent:.0f} s ({type(error).__name__})"
        self._contact = time.monotonic()
        self.known = set(found)
        for gone in (self.ready.keys() | self.refused.keys() | self._asked.keys()) - self.known:
            self.ready.pop(gone, None)
            self.refused.pop(gone, None)
            self._asked.pop(gone, None)
        for address in self.known - self.ready.keys() - self.refused.keys() - self._asked.keys():
            self._asked[address] = self._client.submit(
                check_in,
                str(self._token.file),
                self._token.secret,
                self._setting.machine.threads,
                key=f"trilemma-check-in-{secrets.token_hex(8)}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
            )
        self._take_answers()
        return ""

    def _take_answers(self) -> None:
        for address, asked in list(self._asked.items()):
            if asked.status == "pending":
                continue
            del self._asked[address]
            if asked.status == "finished":
                try:
                    self._admit(address, asked.result(timeout=ANSWER_SECONDS))
                except Exception as error:
                    self.refused[address] = f"{type(error).__name__}: {error}"
            elif asked.status == "error":
                wrong = asked.exception(timeout=ANSWER_SECONDS)
                self.refused[address] = (
                    f"{address}: {type(wrong).__name__}: {wrong}; install trilemma and its plugins there"
                )
            # A check-in that was cancelled with a lost connection is asked for again.

    def _admit(self, address: str, about: dict[str, Any]) -> None:
        decisive, rest = differences(installation(), about["installation"])
        where = f"{about['host']} ({address})"
        if decisive:
            self.refused[address] = f"{where}: {'; '.join(decisive)}; install the same versions on both"
        elif self._gpus and not about["gpus"]:
            self.refused[address] = (
                f"{where} offers no GPU; start it with the resource GPU, such as `dask worker --resources GPU=1`"
            )
        else:
            self.ready[address] = Host(address, about["shared"], self._places(about))
            self.remarks |= set(rest)

    def _places(self, about: dict[str, Any]) -> tuple[Place, ...]:
        if self._gpus:
            gpus: int = about["gpus"]
            return tuple(range(gpus))
        if self._setting.machine.gpus:  # a cluster on this machine, with workers of one thread, which share its GPUs
            taken = [place for host in self.ready.values() for place in host.places]
            return (min(self._setting.machine.gpus, key=taken.count),)
        places: int = about["threads"] // self._setting.machine.threads
        return (None,) * max(1, places)


@dataclass(frozen=True)
class Token:
    """A file in the run directory by which a worker finds out whether it shares the directory."""

    file: Path
    secret: str


@contextlib.contextmanager
def token_in(directory: Path) -> Iterator[Token]:
    """Lay a token into a run directory. What a killed run leaves of it, the next one removes."""
    folder = directory / "tmp" / f"job-{secrets.token_hex(10)}"
    folder.mkdir(parents=True)
    token = Token(folder / "token", secrets.token_hex(16))
    token.file.write_text(token.secret, encoding="utf-8")
    try:
        yield token
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_hosts(
    hosts: Hosts, seconds: float, stopped: Callable[[], bool], message: Callable[[str], None], where: str
) -> None:
    """Wait for the first worker, and for the answers of all that are there.

    Raises TrilemmaError if no worker comes in time, or if one that is there cannot be used.
    """
    begun, told = time.monotonic(), False
    while not stopped():
        if lost := hosts.look():
            raise TrilemmaError(lost)
        if hosts.refused and not hosts.asked:
            raise TrilemmaError("cells cannot run on all workers of the cluster:\n" + "\n".join(hosts.refused.values()))
        waited = time.monotonic() - begun
        if hosts.ready and (not hosts.asked or waited > ANSWER_WAIT_SECONDS):
            return
        if waited > seconds:
            what = "its workers do not answer" if hosts.known else "it has no workers"
            raise TrilemmaError(
                f"no cell could run on the Dask cluster at {where} for {seconds:g} s: {what}; start workers, or wait "
                "longer with --worker-wait"
            )
        if waited > 5 and not told:
            message(f"waiting for workers of the Dask cluster at {where} (at most {seconds:g} s)")
            told = True
        time.sleep(0.1)
