"""The plugins that a suite names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import PluginError, SuiteError
from ..plugins.places import located
from .suite import Document


def all_plugins(document: Document, given: Iterable[str | Path]) -> tuple[str, ...]:
    """The plugins that are given, and those of the table `plugins` of a suite, whose paths are relative to its file.

    Raises PluginError, or SuiteError with the line in the suite.
    """
    found = [located(plugin) for plugin in given]
    folder = Path(document.file).parent
    table = document.values.get("plugins")
    for name, plugin in table.items() if isinstance(table, dict) else ():
        if not isinstance(plugin, str):
            continue  # the validation of the suite says so
        try:
            found.append(located(plugin, folder))
        except PluginError as error:
            raise SuiteError([document.problem(("plugins", name), str(error))]) from None
    return tuple(dict.fromkeys(found))
