"""The executors by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ...errors import TrilemmaError, did_you_mean
from .executors import Executor, LocalExecutor
from .setting import Engine, Setting


def local(setting: Setting) -> Executor:
    """The executor on this machine."""
    return LocalExecutor(setting.supervise, setting.machine.jobs, setting.machine.gpus)


def _dask(**options: Any) -> Engine:
    _need("distributed", "dask")
    from ..on_dask.cluster import DaskOptions
    from ..on_dask.executor import DaskExecutor

    return lambda setting: DaskExecutor(setting, DaskOptions(**options))


ENGINES: dict[str, Callable[..., Engine]] = {"local": lambda: local, "dask": _dask}
"""The executors by name. Each takes its options by name. (Slurm is none: it runs whole suites.)"""

OPTIONS = {
    "local": (),
    "dask": ("scheduler_address", "scheduler_file", "worker_wait"),
    "slurm": ("slurm", "max_jobs", "cancel"),
}
"""The options of each executor, Slurm included."""


def own_options(executor: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of an executor that were given: those that are not empty.

    Raises TrilemmaError for an unknown executor, and for options that belong to another one or to none.
    """
    if executor not in OPTIONS:
        raise TrilemmaError(f"there is no executor '{executor}' ({did_you_mean(executor, OPTIONS)})")
    found = {name: value for name, value in given.items() if value not in (None, False, (), [])}
    for name in found:
        owner = next((owner for owner, names in OPTIONS.items() if name in names), None)
        if owner is None:
            known = [known for names in OPTIONS.values() for known in names]
            raise TypeError(f"a run has no option '{name}' ({did_you_mean(name, known)})")
        if owner != executor:
            raise TrilemmaError(f"--{name.replace('_', '-')} needs --executor {owner}")
    return found


def make_engine(name: str, options: dict[str, Any]) -> Engine:
    """The engine with this name and these options. Raises TrilemmaError if its extra is not installed."""
    return ENGINES[name](**options)


def _need(module: str, extra: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise TrilemmaError(
            f"--executor {extra} needs the package {module}, which cannot be imported ({error}); "
            f"install it with: pip install 'trilemma[{extra}]'"
        ) from None
