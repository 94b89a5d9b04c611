"""Discovery of plugins: provenance, collisions, and broken ones that never hide the others."""

from __future__ import annotations

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

from .contracts import hookspecs
from .errors import PluginError, did_you_mean
from .identity import Provenance

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
    """What one plugin's observer returned, or the message that says how it failed."""

    plugin: str
    value: Any = None
    error: str = ""


class Registry:
    """The loaded plugins and what they registered, by kind and name.

    Loads each entry point on its own: a plugin that raises at import stays listed with its error. Commands of the
    built-in plugins are cheap to load, so the command line starts with `builtin_only` and loads the rest on demand.
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
                # Asked for by name, so a mistake in it must not be overlooked.
                raise PluginError(f"plugin file {path}: {record.error}")

    def _load(self, record: PluginRecord, load: Callable[[], Any]) -> None:
        self.records.append(record)
        try:
            record.module = load()
            self.manager.register(record.module, name=f"{record.distribution}:{record.name}")
            _refuse_misspelt(record.module)
        except Exception as error:  # whatever a third party's import raises must not hide the other plugins
            record.error = f"{type(error).__name__}: {error}"
            self.manager.unregister(name=f"{record.distribution}:{record.name}")

    # What was registered

    def classes(self, kind: str) -> dict[str, type[Any]]:
        """Registered classes of a kind (`models`, `datasets`, `metrics`, `report_sections`) by name."""
        return {name: cls for name, (cls, _) in self._collect(kind).items()}

    def get(self, kind: str, name: str) -> type[Any]:
        """One registered class. Raises PluginError with a suggestion for an unknown name."""
        classes = self.classes(kind)
        if name not in classes:
            broken = [r for r in self.records if r.error]
            hint = f"; {len(broken)} plugin(s) failed to load, see `trilemma plugins`" if broken else ""
            raise PluginError(f"no {kind[:-1].replace('_', ' ')} named '{name}' ({did_you_mean(name, classes)}){hint}")
        return classes[name]

    def provenance(self, kind: str, name: str) -> Provenance:
        """Where a registered class comes from."""
        _, record = self._collect(kind)[name]
        return Provenance(record.name, record.distribution, record.version)

    def _collect(self, kind: str) -> dict[str, tuple[type[Any], PluginRecord]]:
        if kind in self._loaded:
            return self._loaded[kind]
        found: dict[str, tuple[type[Any], PluginRecord]] = {}
        for record in self.records:
            hook = getattr(record.module, f"trilemma_{kind}", None)
            if record.error or hook is None:
                continue
            from .contracts.registration import check_class

            try:
                classes = list(hook())
                names = [check_class(cls, kind) for cls in classes]
            except Exception as error:  # a broken hook is the plugin's own row in `trilemma plugins`
                record.error = f"trilemma_{kind}: {type(error).__name__}: {error}"
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
        """Call an observer hook of every plugin on its own; yields what each returned, or how it failed."""
        name = f"trilemma_{hook}"
        for implementation in getattr(self.manager.hook, name).get_hookimpls():
            plugin = implementation.plugin_name
            try:
                value = implementation.function(**{key: arguments[key] for key in implementation.argnames})
                yield Observed(plugin, value)
            except Exception as error:  # observers can never fail a run
                yield Observed(plugin, error=f"{name} of plugin '{plugin}' raised {type(error).__name__}: {error}")

    def warnings(self) -> list[str]:
        """One line for each broken plugin."""
        return [f"plugin '{r.name}' of {r.distribution} is broken: {r.error}" for r in self.records if r.error]


def _clash(
    kind: str, name: str, cls: type[Any], found: dict[str, tuple[type[Any], PluginRecord]]
) -> tuple[str, PluginRecord] | None:
    """What of a class is taken already, and by whom: its name, or for a metric that of one of its quantities."""
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
        raise FileNotFoundError(f"there is no file {path}")
    name = f"trilemma_plugin_{path.stem}"
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
            raise PluginError(f"hook '{name}' lacks its decorator @trilemma.hookimpl")
