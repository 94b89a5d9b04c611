"""The registry of plugins: discovery, provenance, name collisions, and broken plugins."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .boundary import boundary, described
from .contracts import hookspecs
from .errors import PluginError, did_you_mean
from .identity import Provenance
from .text import brief

GROUP = "trilemma"
KINDS = ("models", "datasets", "metrics", "report_sections")


@dataclass
class PluginRecord:
    """One plugin, loaded or broken."""

    name: str
    distribution: str
    version: str
    origin: str
    error: str = ""
    module: ModuleType | None = None
    provides: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """The return value of the observer of one plugin, or the message of its error."""

    plugin: str
    value: Any = None
    error: str = ""


class Registry:
    """The loaded plugins, and the classes that they registered, by kind and name.

    Each entry point is loaded separately, so a plugin that raises at import does not affect the others; it stays listed
    with its error. With `builtin_only`, only the built-in plugins are loaded, which is fast.
    """

    def __init__(self, files: Iterable[str | Path] = (), *, builtin_only: bool = False) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        self._loaded: dict[str, dict[str, tuple[type[Any], PluginRecord]]] = {}
        for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: (not _is_builtin(e), e.name)):
            if builtin_only and not _is_builtin(entry):
                continue
            distribution = entry.dist.name if entry.dist else "unknown"
            version = entry.dist.version if entry.dist else "unknown"
            record = PluginRecord(entry.name, distribution, version, entry.value)
            self._load(record, entry.load)
        for file in files:
            path = Path(file)
            record = PluginRecord(path.stem, str(path), "unpackaged", str(path.resolve()))
            self._load(record, lambda path=path: _load_file(path))  # type: ignore[misc]
            if record.error:
                # The user asked for this file, so an error in it must stop the command.
                raise PluginError(f"plugin file {path}: {record.error}")

    def _load(self, record: PluginRecord, load: Callable[[], Any]) -> None:
        self.records.append(record)
        try:
            with boundary():
                record.module = load()
                self.manager.register(record.module, name=f"{record.distribution}:{record.name}")
                _refuse_misspelt(record.module)
        except Exception as error:  # an error in one plugin must not affect the others
            record.error = described(error)
            self.manager.unregister(name=f"{record.distribution}:{record.name}")

    # What was registered

    def classes(self, kind: str) -> dict[str, type[Any]]:
        """The registered classes of a kind (`models`, `datasets`, `metrics`, `report_sections`) by name."""
        return {name: cls for name, (cls, _) in self._collect(kind).items()}

    def get(self, kind: str, name: str) -> type[Any]:
        """One registered class. Raises PluginError with a suggestion for an unknown name."""
        classes = self.classes(kind)
        if name not in classes:
            broken = [r for r in self.records if r.error]
            hint = f"; {len(broken)} plugin(s) failed to load, see `trilemma plugins`" if broken else ""
            raise PluginError(
                f"no {kind[:-1].replace('_', ' ')} named '{brief(name)}' ({did_you_mean(name, classes)}){hint}"
            )
        return classes[name]

    def provenance(self, kind: str, name: str) -> Provenance:
        """The plugin, distribution and version of a registered class."""
        _, record = self._collect(kind)[name]
        return Provenance(record.name, record.distribution, record.version)

    def _collect(self, kind: str) -> dict[str, tuple[type[Any], PluginRecord]]:
        if kind in self._loaded:
            return self._loaded[kind]
        found: dict[str, tuple[type[Any], PluginRecord]] = {}
        for record in self.records:
            if record.error:
                continue
            from .contracts.registration import check_class

            try:
                with boundary():
                    hook = getattr(record.module, f"trilemma_{kind}", None)
                    classes = [] if hook is None else list(hook())
                    names = [check_class(cls, kind) for cls in classes]
            except Exception as error:  # `trilemma plugins` shows the error with the plugin
                record.error = f"trilemma_{kind}: {described(error)}"
                continue
            for name, cls in zip(names, classes, strict=True):
                clash = _clash(kind, name, cls, found)
                if clash:
                    what, other = clash
                    record.error = (
                        f"{what} of {record.distribution} ({record.origin}) is already"
                        f" registered by {other.distribution} ({other.origin}); rename one of them"
                    )
                    continue
                found[name] = (cls, record)
                record.provides.setdefault(kind, []).append(name)
        self._loaded[kind] = found
        return found

    def load_everything(self) -> None:
        """Call every registration hook, so that `records` shows what each plugin provides and every error."""
        for kind in KINDS:
            self._collect(kind)

    def observe(self, hook: str, **arguments: Any) -> Iterator[Observed]:
        """Call an observer hook of every plugin, and yield the return value or the error of each."""
        name = f"trilemma_{hook}"
        for implementation in getattr(self.manager.hook, name).get_hookimpls():
            plugin = implementation.plugin_name
            try:
                with boundary():
                    value = implementation.function(**{key: arguments[key] for key in implementation.argnames})
            except Exception as error:  # an observer must not fail a run
                yield Observed(plugin, error=f"{name} of plugin '{plugin}' raised {described(error)}")
            else:
                yield Observed(plugin, value)

    def warnings(self) -> list[str]:
        """One line for each broken plugin."""
        return [f"plugin '{r.name}' of {r.distribution} is broken: {r.error}" for r in self.records if r.error]


def _clash(
    kind: str, name: str, cls: type[Any], found: dict[str, tuple[type[Any], PluginRecord]]
) -> tuple[str, PluginRecord] | None:
    """The name of a class, or of a quantity of a metric, that is already taken, and the plugin that has it."""
    if name in found:
        return f"{kind[:-1].replace('_', ' ')} '{name}'", found[name][1]
    if kind == "metrics":
        taken = {quantity.name: record for other, record in found.values() for quantity in other.quantities}
        for quantity in cls.quantities:
            if quantity.name in taken:
                return f"quantity '{quantity.name}' of metric '{name}'", taken[quantity.name]
    return None


def _is_builtin(entry: metadata.EntryPoint) -> bool:
    return entry.value.split(".")[0] == "trilemma"


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    # Two files with one name in different folders are two modules.
    name = f"trilemma_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _refuse_misspelt(module: Any) -> None:
    known = [name for name in dir(hookspecs) if name.startswith("trilemma_")]
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("trilemma_") and name not in known:
            raise PluginError(f"there is no hook '{name}' ({did_you_mean(name, known)})")
        if name in known and not hasattr(function, "trilemma_impl"):
            raise PluginError(f"hook '{name}' has no decorator; write @trilemma.hookimpl above it")
