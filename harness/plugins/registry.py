"""The registry of plugins: discovery, provenance, name collisions, and broken plugins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pluggy

from ..boundary import boundary, described, line_in
from ..contracts import hookspecs
from ..contracts.references import Entry
from ..errors import MissingLibraryError, PluginError, did_you_mean
from ..identity import Provenance
from ..text import brief
from .catalog import KINDS, read_catalog, registered_by, write_catalog
from .libraries import missing_library, need_of
from .places import GROUP, installed, is_builtin, is_file, load_file, owner_of
from .record import PluginRecord


@dataclass(frozen=True)
class Observed:
    """The return value of the observer of one plugin, or the message of its error."""

    plugin: str
    value: Any = None
    error: str = ""


class Registry:
    """The loaded plugins, and the classes that they registered, by kind and name.

    Each entry point is loaded separately, so a plugin that raises at import does not affect the others; it stays listed
    with its error. Of an installed plugin, what it registers is known from its catalog, and only what is asked for is
    imported. With `fresh`, every plugin is imported. With `builtin_only`, only the built-in plugins are loaded.

    `plugins` are files and modules that are loaded besides (see `places.located`).
    """

    def __init__(self, plugins: Iterable[str | Path] = (), *, builtin_only: bool = False, fresh: bool = False) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        self._registered: dict[str, dict[str, tuple[Entry, PluginRecord]]] = {}
        for entry, distribution, version in installed():
            builtin = is_builtin(entry.value)
            if builtin_only and not builtin:
                continue
            self.records.append(record := PluginRecord(entry.name, distribution, version, entry.value, entry.load))
            if not builtin and not fresh and read_catalog(record):
                continue
            self._load(record)
            if not builtin and not record.error:
                write_catalog(record)
        for plugin in dict.fromkeys(map(str, plugins)):
            record = _asked(plugin)
            if any(record.origin == other.origin for other in self.records):
                continue  # it is named twice, or a module that is installed as a plugin too
            self.records.append(record)
            self._load(record)
            for kind in KINDS:
                self._entries(record, kind)  # so that a mistake stops the command before it does anything

    def _load(self, record: PluginRecord) -> None:
        try:
            with boundary():
                record.module = record.load()
                self.manager.register(record.module, name=f"{record.distribution}:{record.name}")
                hookspecs.refuse_misspelt(record.module)
        except Exception as error:  # an error in one plugin must not affect the others
            self.manager.unregister(name=f"{record.distribution}:{record.name}")
            _blame(record, described(error), error)

    # What was registered

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind. Classes that are registered by reference are not imported."""
        return list(self._collect(kind))

    def classes(self, kind: str) -> dict[str, type[Any]]:
        """The registered classes of a kind (one of `KINDS`) by name.

        A class that cannot be loaded is left out, and `warnings` has its error; from a file that the user named, it is
        raised.
        """
        found = {}
        for name, (_, record) in self._collect(kind).items():
            with contextlib.nullcontext() if record.asked else contextlib.suppress(PluginError):
                found[name] = self._load_class(kind, name)
        return self._without_shared_quantities(found) if kind == "metrics" else found

    def docstrings(self, kind: str) -> dict[str, str]:
        """The docstrings of the registered classes by name. Classes registered by reference are not imported.

        A class whose docstring cannot be read is left out if it cannot be loaded, and `warnings` has its error.
        """
        found = {}
        for name, (entry, _) in self._collect(kind).items():
            with contextlib.suppress(PluginError):
                try:
                    with boundary():
                        found[name] = entry.docstring()
                except Exception:  # the error is found again, and stored, when the class is loaded
                    found[name] = self._load_class(kind, name).__dict__.get("__doc__") or ""
        return found

    def get(self, kind: str, name: str) -> type[Any]:
        """One registered class. Of the classes that are registered by reference, only this one is imported.

        Raises PluginError with a suggestion for an unknown name, and with the cause for a class that cannot be loaded.
        """
        registered = self._collect(kind)
        if name in registered:
            made = self._load_class(kind, name)
            if kind != "metrics" or len({record.name for _, record in registered.values()}) == 1:
                return made
            if name in self.classes(kind):  # metrics of several plugins may share a quantity
                return made
        for owner, cls in self.classes("metrics").items() if kind == "metrics" else ():
            if any(quantity.name == name for quantity in cls.quantities):
                raise PluginError(f"no metric named '{brief(name)}'; it is a number of the metric '{owner}'")
        broken = [record for record in self.records if record.problem]
        hint = f"; {len(broken)} plugin(s) failed to load, see `trilemma plugins`" if broken else ""
        raise PluginError(f"no {_singular(kind)} named '{brief(name)}' ({did_you_mean(name, registered)}){hint}")

    def reference(self, kind: str, name: str) -> str:
        """The reference by which a registered class can be imported; "" if there is none."""
        return self._collect(kind)[name][0].reference

    def provenance(self, kind: str, name: str) -> Provenance:
        """The plugin, distribution and version of a registered class."""
        _, record = self._collect(kind)[name]
        return Provenance(record.name, record.distribution, record.version)

    def _collect(self, kind: str) -> dict[str, tuple[Entry, PluginRecord]]:
        if kind in self._registered:
            return self._registered[kind]
        found: dict[str, tuple[Entry, PluginRecord]] = {}
        for record in self.records:
            for entry in () if record.error else self._entries(record, kind):
                if entry.name in found:
                    taken = _taken(f"{_singular(kind)} '{entry.name}'", record, found[entry.name][1])
                    _blame(record, taken, hook=record.hook(kind))
                    continue
                found[entry.name] = entry, record
                record.provides.setdefault(kind, []).append(entry.name)
        self._registered[kind] = found
        return found

    def _entries(self, record: PluginRecord, kind: str) -> list[Entry]:
        """What a plugin registers of a kind; nothing if its hook is wrong, and the record then has the error."""
        if kind not in record.registered:
            record.registered[kind] = []
            try:
                with boundary():
                    record.registered[kind] = registered_by(record.module, kind)
            except Exception as error:  # `trilemma plugins` shows the error with the plugin
                _blame(record, f"trilemma_{kind}: {described(error)}", error, record.hook(kind))
        return record.registered[kind]

    def _load_class(self, kind: str, name: str) -> type[Any]:
        """The class of a registered name. Raises PluginError if it cannot be loaded; the record then has the error."""
        entry, record = self._collect(kind)[name]
        what = f"{_singular(kind)} '{name}'"
        if what not in record.broken:
            if (known := entry.loaded) is not None:
                return known
            try:
                with boundary():
                    return entry.load()
            except Exception as error:  # an error in one class must not affect the others
                library = missing_library(error)
                if library == entry.reference.partition(":")[0].split(".")[0]:
                    library = ""  # the reference itself leads nowhere
                reason = (
                    need_of(library, record.distribution) if library else f"({entry.reference}): {described(error)}"
                )
                record.broken[what] = f"{what} {reason}"
                record.provides[kind].remove(name)
                if library:
                    record.lacks[what] = library
                elif record.asked:
                    _blame(record, record.broken[what], error)
        if what in record.lacks:
            raise MissingLibraryError(record.broken[what], record.lacks[what])
        raise PluginError(f"plugin '{record.name}' of {record.distribution} is broken: {record.broken[what]}")

    def _without_shared_quantities(self, found: dict[str, type[Any]]) -> dict[str, type[Any]]:
        """Metrics without those that have a quantity of an earlier one, because a table has one column for both."""
        kept: dict[str, type[Any]] = {}
        owners: dict[str, PluginRecord] = {}
        for name, cls in found.items():
            _, record = self._collect("metrics")[name]
            named = [quantity.name for quantity in cls.quantities]
            if shared := next((quantity for quantity in named if quantity in owners), None):
                _blame(record, _taken(f"quantity '{shared}' of metric '{name}'", record, owners[shared]))
                if name in record.provides["metrics"]:
                    record.provides["metrics"].remove(name)
                continue
            kept[name] = cls
            owners |= dict.fromkeys(named, record)
        return kept

    def load_everything(self) -> None:
        """Call every registration hook, so that `records` shows what each plugin provides and every error."""
        for kind in KINDS:
            self.classes(kind)

    def observe(self, hook: str, **arguments: Any) -> Iterator[Observed]:
        """Call an observer hook of every plugin, and yield the return value or the error of each."""
        name = f"trilemma_{hook}"
        for record in self.records:
            if name in record.hooks and record.module is None and not record.error:
                self._load(record)
        for implementation in getattr(self.manager.hook, name).get_hookimpls():
            plugin = implementation.plugin_name
            try:
                with boundary():
                    value = implementation.function(**{key: arguments[key] for key in implementation.argnames})
            except Exception as error:  # an observer must not fail a run
                yield Observed(plugin, error=f"{name} of plugin '{plugin}' raised {described(error)}")
            else:
                yield Observed(plugin, value)

    def observed_by_others(self, hook: str) -> bool:
        """Whether a plugin that is not built in implements an observer hook."""
        names = {f"{record.distribution}:{record.name}" for record in self.records if is_builtin(record.origin)}
        implementations = getattr(self.manager.hook, f"trilemma_{hook}").get_hookimpls()
        known = any(f"trilemma_{hook}" in record.hooks for record in self.records)
        return known or any(implementation.plugin_name not in names for implementation in implementations)

    def registered_by_others(self, kind: str) -> bool:
        """Whether a plugin that is not built in has registered a class of a kind."""
        return any(not is_builtin(record.origin) for _, record in self._collect(kind).values())

    def warnings(self) -> list[str]:
        """One line for each broken plugin."""
        return [f"plugin '{r.name}' of {r.distribution} is broken: {r.problem}" for r in self.records if r.problem]


def _blame(record: PluginRecord, message: str, error: Exception | None = None, hook: Any = None) -> None:
    """Keep the error of a plugin. Raises PluginError, with the line, if the user asked for this file."""
    record.error = message.replace("PluginError: ", "", 1)
    if record.asked:
        file = getattr(record.module, "__file__", None) or record.origin
        line = (error and line_in(error, file)) or hookspecs.line_of(hook)
        what = f"file {record.distribution}" if is_file(record.origin) else f"module {record.origin}"
        raise PluginError(f"plugin {what}{f':{line}' if line else ''}: {record.error}") from error


def _asked(plugin: str) -> PluginRecord:
    """The record of a file or module that the user named."""
    if is_file(plugin):
        path = Path(plugin).resolve()
        return PluginRecord(path.stem, plugin, "unpackaged", str(path), lambda: load_file(path), asked=True)
    return PluginRecord(plugin, *owner_of(plugin), plugin, lambda: import_module(plugin), asked=True)


def _taken(what: str, record: PluginRecord, other: PluginRecord) -> str:
    """The error of a plugin that registers a name that another plugin has."""
    return (
        f"{what} of {record.distribution} ({record.origin}) is already"
        f" registered by {other.distribution} ({other.origin}); rename one of them"
    )


def _singular(kind: str) -> str:
    return kind[:-1].replace("_", " ")
