"""The Python environments of plugins: where an interpreter is, and what a suite says of it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from ..contracts.config import Record
from ..errors import PluginError


class PluginEntry(Record):
    """A plugin of a suite that has a Python environment of its own."""

    load: str = Field(description="file of the plugin, relative to the suite, or a module of that environment")
    python: str = Field(description="the interpreter of the environment, or its folder, relative to the suite")


def interpreter(path: str, folder: str | Path = ".") -> str:
    """The absolute path of an interpreter, given by its path or by the folder of a virtual environment.

    Raises PluginError if it is none. A link is kept as it is, because Python finds its environment by it.
    """
    place = os.path.abspath(Path(folder, path).expanduser())
    if os.path.isdir(place):
        place = os.path.join(place, "bin", "python")
    if not os.path.isfile(place) or not os.access(place, os.X_OK):
        raise PluginError(
            f"there is no interpreter {place}; make an environment with: python -m venv {os.path.dirname(place)}"
        )
    return place
