"""What an executor needs to know of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...planning.suite import Limits
from ...store.store import Store
from ..processes.supervisor import Supervisor
from .executors import Executor, Supervise


@dataclass(frozen=True)
class Machine:
    """How cells use a machine: their threads, their kind of device (`cpu`, `cuda`), and the GPUs that are here.

    `jobs` is how many cells this machine runs at a time, and `given_jobs` the number that the user gave, if any.
    """

    threads: int
    device: str
    jobs: int
    given_jobs: int | None
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What an executor needs to know of a run."""

    store: Store
    limits: Limits
    machine: Machine
    plugin_files: tuple[str, ...]
    env: dict[str, str]
    supervisor: Supervisor
    """Its events `stop` and `kill` are set when the user stops the run."""
    supervise: Supervise
    """Supervises a cell on this machine."""
    stopped: Callable[[], bool]
    """Whether no more cells are to be started."""
    message: Callable[[str], None]


Engine = Callable[[Setting], Executor]
"""Makes the executor of a run. Raises TrilemmaError if it cannot be used."""
