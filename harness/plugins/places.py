"""Where plugins are found: installed packages, and files and modules that the user names."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from ..errors import PluginError, did_you_mean
from ..source import forget
from ..text import brief

GROUP = "trilemma"
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def installed() -> list[tuple[metadata.EntryPoint, str, str]]:
    """The entry points of all plugins, built-in ones first, with the name and version of their distributions."""
    folders = [folder for path in sys.path if os.path.isdir(folder := path or ".")]
    return _installed(tuple((folder, os.stat(folder).st_mtime_ns) for folder in folders))


@functools.cache
def _installed(places: tuple[tuple[str, int], ...]) -> list[tuple[metadata.EntryPoint, str, str]]:
    # They are read once for each state of `places`, so that a cell, which is a fork, need not read them again.
    found = sorted(metadata.entry_points(group=GROUP), key=lambda entry: (not is_builtin(entry.value), entry.name))
    return [
        (entry, entry.dist.name if entry.dist else "unknown", entry.dist.version if entry.dist else "unknown")
        for entry in found
    ]


def is_builtin(module: str) -> bool:
    """Whether a module is one of trilemma itself."""
    return module.split(".")[0] == "trilemma"


def is_file(plugin: str) -> bool:
    """Whether the name of a plugin is meant as a file, and not as a module."""
    return plugin.endswith(".py") or os.sep in plugin or not _MODULE.fullmatch(plugin)


def located(plugin: str | Path, folder: str | Path = ".") -> str:
    """A plugin as every process can load it: the absolute path of a file, or the name of an importable module.

    A path is relative to `folder`. Raises PluginError if there is no such file or module.
    """
    if isinstance(plugin, Path) or is_file(plugin):
        path = Path(folder, plugin).resolve()
        if path.is_file():
            return str(path)
        near = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = f" ({did_you_mean(path.name, near)})" if near else ""
        raise PluginError(f"the plugin file {brief(path, 300)} does not exist{hint}")
    try:
        found = importlib.util.find_spec(plugin)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise PluginError(
            f"there is no module '{brief(plugin)}' among the installed packages; "
            f"to load a file, write its path, such as ./{brief(plugin).split('.')[-1]}.py"
        )
    return plugin


def owner_of(module: str) -> tuple[str, str]:
    """The distribution that an importable module belongs to, with its version."""
    names = metadata.packages_distributions().get(module.split(".")[0], [])
    return (names[0], metadata.version(names[0])) if names else (module, "unpackaged")


def load_file(path: Path) -> ModuleType:
    """Execute a file as a module of its own."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    # Two files with one name in different folders are two modules.
    name = f"trilemma_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    forget(name)
    spec.loader.exec_module(module)
    return module
