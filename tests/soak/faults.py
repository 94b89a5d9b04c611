"""The faults that the soak puts into a run from outside. Each is a function that returns None if it finds no aim."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from processes import keepers, workers, zygotes

HELD_SECONDS = 1.5  # how long a disk stays full or read-only


@dataclass
class Target:
    """What a fault may aim at: one run, its directory, and the cluster that it uses, if any."""

    mark: str
    directory: Path
    cells: frozenset[str]
    """The ids of the cells of the suite; another process that has a job is a loader of a dataset."""
    random: random.Random
    parent: psutil.Popen
    start_second: Callable[[], subprocess.CompletedProcess[str]]
    clock: Path
    mounted: bool = False
    cluster: dict[str, list[psutil.Process]] = field(default_factory=dict)
    """The processes of a Dask cluster: `worker` and `scheduler`."""


@dataclass(frozen=True)
class Injected:
    """A fault that was put in: its kind, and the id of the cell that it hit, if it aimed at one."""

    kind: str
    hit: str = ""
    wrong: str = ""
    """What went wrong at once, such as a second run that was not refused."""
    excuses_all: bool = False
    """Whether any cell may fail because of it, as long as the next run mends that."""


def signal_worker(kind: str, number: signal.Signals, loader: bool = False) -> Callable[[Target], Injected | None]:
    """A signal to the process of a cell, or of a dataset loader."""

    def inject(target: Target) -> Injected | None:
        found = workers(target.mark)
        wanted = [each for each in found if (each.job not in target.cells) == loader]
        if not wanted:
            return None
        chosen = target.random.choice(wanted)
        chosen.process.send_signal(number)
        return Injected(kind, hit="" if loader else chosen.job)

    return _unless_gone(inject)


def signal_helper(kind: str, number: signal.Signals, which: str) -> Callable[[Target], Injected | None]:
    """A signal to the process that cells are forked from, or to one between it and a cell."""

    def inject(target: Target) -> Injected | None:
        found = zygotes(target.mark) if which == "zygote" else keepers(target.mark)
        if not found:
            return None
        target.random.choice(found).send_signal(number)
        return Injected(kind)

    return _unless_gone(inject)


def signal_parent(kind: str, number: signal.Signals) -> Callable[[Target], Injected | None]:
    """A signal to the run itself."""

    def inject(target: Target) -> Injected | None:
        target.parent.send_signal(number)
        return Injected(kind)

    return _unless_gone(inject)


def signal_cluster(kind: str, number: signal.Signals, which: str) -> Callable[[Target], Injected | None]:
    """A signal to a worker or to the scheduler of a Dask cluster."""

    def inject(target: Target) -> Injected | None:
        found = [process for process in target.cluster.get(which, []) if process.is_running()]
        if not found:
            return None
        target.random.choice(found).send_signal(number)
        return Injected(kind)

    return _unless_gone(inject)


def second_parent(target: Target) -> Injected | None:
    """Another run into the same directory. It must be refused, with the exit code 2."""
    if not (target.directory / "run.json").exists():
        return None
    done = target.start_second()
    if target.parent.poll() is not None:
        return None  # the first had ended, so the second was no second
    wrong = "" if done.returncode == 2 else f"a second run ended with {done.returncode}: {done.stderr[-300:]}"
    return Injected("two parents", wrong=wrong)


def full_disk(target: Target) -> Injected | None:
    """Fill the disk of the run directory for a while."""
    if not target.mounted:
        return None
    filler = target.directory.parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as stream:
        while True:
            stream.write(b"\0" * 65536)
            stream.flush()
    time.sleep(HELD_SECONDS)
    filler.unlink(missing_ok=True)
    return Injected("disk full", excuses_all=True)


def read_only(target: Target) -> Injected | None:
    """Make the disk of the run directory read-only for a while."""
    if not target.mounted:
        return None
    place = str(target.directory.parent)
    done = subprocess.run(["mount", "-o", "remount,ro", place], capture_output=True)
    if done.returncode != 0:  # a file is open for writing
        return None
    time.sleep(HELD_SECONDS)
    subprocess.run(["mount", "-o", "remount,rw", place], check=True, capture_output=True)
    return Injected("read-only disk", excuses_all=True)


def clock_jump(target: Target) -> Injected | None:
    """Let the clock of the day jump, by an hour to ten years, forward or back."""
    jump = target.random.choice((-1, 1)) * target.random.uniform(3600, 3.2e8)
    target.clock.write_text(str(jump))
    return Injected("clock jump")


def damage(file: Path, chance: random.Random) -> str:
    """Damage a file in one of several ways. Returns the way."""
    way = chance.choice(("bit", "truncated", "empty", "deleted", "overwritten"))
    content = bytearray(file.read_bytes())
    if way == "bit" and content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif way == "truncated":
        content = content[: chance.randrange(max(1, len(content)))]
    elif way == "empty":
        content = bytearray()
    elif way == "overwritten":
        content = bytearray(chance.randbytes(max(1, len(content))))
    if way == "deleted":
        file.unlink()
    else:
        file.write_bytes(bytes(content))
    return way


def _unless_gone(inject: Callable[[Target], Injected | None]) -> Callable[[Target], Injected | None]:
    def wrapped(target: Target) -> Injected | None:
        try:
            return inject(target)
        except psutil.Error:
            return None  # it ended before the signal

    return wrapped


KINDS: dict[str, Callable[[Target], Injected | None]] = {
    **{f"{name} of a cell": signal_worker(f"{name} of a cell", getattr(signal, name))
       for name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGSTOP")},
    "SIGKILL of a loader": signal_worker("SIGKILL of a loader", signal.SIGKILL, loader=True),
    "SIGKILL of a keeper": signal_helper("SIGKILL of a keeper", signal.SIGKILL, "keeper"),
    "SIGSTOP of a keeper": signal_helper("SIGSTOP of a keeper", signal.SIGSTOP, "keeper"),
    "SIGKILL of the zygote": signal_helper("SIGKILL of the zygote", signal.SIGKILL, "zygote"),
    "SIGSTOP of the zygote": signal_helper("SIGSTOP of the zygote", signal.SIGSTOP, "zygote"),
    "SIGKILL of the parent": signal_parent("SIGKILL of the parent", signal.SIGKILL),
    "SIGTERM of the parent": signal_parent("SIGTERM of the parent", signal.SIGTERM),
    "SIGKILL of a Dask worker": signal_cluster("SIGKILL of a Dask worker", signal.SIGKILL, "worker"),
    "SIGKILL of the Dask scheduler": signal_cluster("SIGKILL of the Dask scheduler", signal.SIGKILL, "scheduler"),
    "two parents": second_parent,
    "disk full": full_disk,
    "read-only disk": read_only,
    "clock jump": clock_jump,
}  # fmt: skip
"""The faults, by name. Those of hostile models, and damaged files, come on top."""
