"""The executors by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..errors import TrilemmaError, did_you_mean
from .executors import Engine, local


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
