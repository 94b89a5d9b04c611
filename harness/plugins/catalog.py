"""The catalog of an installed plugin: what it registers, kept so that the plugin need not be imported to know it.

It is kept for one version of the distribution in one place, until a file of the plugin changes. A plugin that does not
load, or whose classes cannot be imported by name, has none and is imported each time.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from trilemma import __version__

from ..boundary import boundary
from ..contracts.references import Entry, entries
from ..memo import recall, remember
from .record import PluginRecord

KINDS = ("models", "datasets", "metrics", "report_sections", "observers")


def registered_by(module: Any, kind: str) -> list[Entry]:
    """What the hook of a plugin registers of a kind. Raises PluginError, and whatever the hook raises."""
    hook = getattr(module, f"trilemma_{kind}", None)
    return [] if hook is None else entries(hook(), kind, getattr(module, "__package__", None) or "")


def read_catalog(record: PluginRecord) -> bool:
    """Take what a plugin registers, and which hooks it has, from its catalog. False if there is none."""
    about = _about(record)
    known = recall("catalogs", about) if about else None
    if known is None:
        return False
    record.hooks = set(known["hooks"])
    for kind in KINDS:
        record.registered[kind] = [
            Entry(name, kind, reference, written=written) for name, reference, written in known["entries"][kind]
        ]
    return True


def write_catalog(record: PluginRecord) -> None:
    """Write the catalog of a plugin that is loaded, if it can have one."""
    about = _about(record)
    try:
        with boundary():
            found = {kind: registered_by(record.module, kind) for kind in KINDS}
    except Exception:  # it is found again, and blamed, when the kind is asked for
        return
    record.registered = found
    lines = {kind: [_line(entry) for entry in found[kind]] for kind in KINDS}
    if not about or any(None in part for part in lines.values()):
        return
    hooks = [name for name in vars(record.module) if name.startswith("trilemma_")]
    made = {entry.made.__module__ for entries in found.values() for entry in entries if entry.made is not None}
    tops = {name.split(".")[0] for name in (record.origin, *made)}
    remember("catalogs", about, {"hooks": hooks, "entries": lines}, files_of(tops))


def files_of(packages: set[str]) -> set[str]:
    """The files of the loaded modules of top-level packages."""
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in packages]
    return {file for module in modules if isinstance(file := getattr(module, "__file__", None), str)}


def found_at(package: str) -> list[str]:
    """Where a top-level package would be imported from; empty if it is not found."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError, AttributeError):
        found = None
    return [] if found is None else [str(found.origin), *map(str, found.submodule_search_locations or ())]


def _line(entry: Entry) -> list[str | None] | None:
    """What the catalog says of a class, whose reference is then known; None if it cannot be imported by its name."""
    if entry.made is None:
        return [entry.name, entry.reference, None]
    module, name = entry.made.__module__, entry.made.__qualname__
    if getattr(sys.modules.get(module), name, None) is not entry.made:
        return None
    entry.reference = f"{module}:{name}"
    return [entry.name, entry.reference, entry.made.__dict__.get("__doc__") or ""]


def _about(record: PluginRecord) -> list[str]:
    """What a catalog is about; empty if the package of the plugin is not found."""
    places = found_at(record.origin.partition(":")[0].split(".")[0])
    about = [__version__, *KINDS, record.name, record.distribution, record.version, record.origin]
    return [*about, *places] if places else []
