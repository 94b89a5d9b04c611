"""The plugins that a suite names, and the observers that a run is given by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..boundary import boundary, described
from ..errors import PluginError, SuiteError, TrilemmaError
from ..plugins import Registry
from ..plugins.places import is_file, located
from .environments import interpreter
from .suite import Document


def all_plugins(document: Document, given: Iterable[str | Path]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The plugins that are given, and those of the table `plugins` of a suite, whose paths are relative to its file.

    The plugins with an environment of their own come apart, with the interpreter of each. Raises PluginError, or
    SuiteError with the line in the suite.
    """
    found, environments = [located(plugin) for plugin in given], {}
    folder = Path(document.file).parent
    table = document.values.get("plugins")
    for name, plugin in table.items() if isinstance(table, dict) else ():
        try:
            if isinstance(plugin, str):
                found.append(located(plugin, folder))
            elif _is_entry(plugin):
                load = plugin["load"]
                load = located(load, folder) if is_file(load) else load
                environments[load] = interpreter(plugin["python"], folder)
            else:
                raise PluginError(f"give a file, a module, or a table with `load` and `python`, not {plugin!r}")
        except PluginError as error:
            raise SuiteError([document.problem(("plugins", name), str(error))]) from None
    return tuple(dict.fromkeys(found)), environments


def _is_entry(plugin: Any) -> bool:
    """Whether a value names a plugin and an interpreter."""
    return isinstance(plugin, dict) and all(isinstance(plugin.get(key), str) for key in ("load", "python"))


def observe_with(registry: Registry, names: Iterable[str]) -> None:
    """Make these observers, which then get the hooks of a run. Raises PluginError if one is unknown or cannot work."""
    for name in dict.fromkeys(names):
        cls = registry.get("observers", name)
        try:
            with boundary():
                observer = cls()
        except Exception as error:
            reason = str(error) if isinstance(error, TrilemmaError) else described(error)
            raise PluginError(f"observer '{name}': {reason}") from error
        registry.manager.register(observer, name=f"observer {name}")
