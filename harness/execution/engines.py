"""The executors by name, and what they need to know of a run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import TrilemmaError, did_you_mean
from ..planning.suite import Limits
from ..store.store import Store
from .executors import Executor, LocalExecutor, Supervise
from .supervisor import Supervisor


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


def local(setting: Setting) -> Executor:
    """The executor on this machine."""
    return LocalExecutor(setting.supervise, setting.machine.jobs, setting.machine.gpus)


def _dask(**options: Any) -> Engine:
    _need("distributed", "dask")
    from .on_dask.cluster import DaskOptions
    from .on_dask.executor import DaskExecutor

    chosen = DaskOptions(**{name: value for name, value in options.items() if value is not None})
    return lambda setting: DaskExecutor(setting, chosen)


def _local(**options: Any) -> Engine:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise TrilemmaError(f"{', '.join(given)} needs --executor dask")
    return local


ENGINES: dict[str, Callable[..., Engine]] = {"local": _local, "dask": _dask}
"""The executors by name. Each takes its options by name; an option that is None was not given."""


def make_engine(name: str, options: dict[str, Any]) -> Engine:
    """The engine with this name. Raises TrilemmaError for an unknown name, or if its extra is not installed."""
    if name not in ENGINES:
        raise TrilemmaError(f"there is no executor '{name}' ({did_you_mean(name, ENGINES)})")
    return ENGINES[name](**options)


def _need(module: str, extra: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise TrilemmaError(
            f"--executor {extra} needs the package {module}, which cannot be imported ({error}); "
            f"install it with: pip install 'trilemma[{extra}]'"
        ) from None
