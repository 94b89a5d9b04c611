"""Writes the package of a new plugin from templates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from trilemma import __version__

from ...errors import PluginError
from ...plugins import Registry
from ...text import brief

KINDS = {"model": "models", "dataset": "datasets", "metric": "metrics", "section": "report_sections"}
"""What can be made, and the hook that registers it."""

TEMPLATES = resources.files("trilemma.harness.cli.new") / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 40
_IMPORTED = {"Field", "Tensor", "Callable", "Path"}
"""Names that templates import, and that the class of a plugin must not have."""


def write_package(kind: str, name: str, parent: Path) -> tuple[Path, list[Path]]:
    """Write the package of a new plugin into a new folder. Returns the folder, and the files relative to it.

    Raises PluginError for a name that cannot be used or is registered already, and if the folder exists: nothing is
    ever overwritten.
    """
    check_name(kind, name)
    values = _values(kind, name)
    folder = parent / values["distribution"]
    rendered = [(file, _rendered(source, values)) for file, source in _templates(kind, values["package"])]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise PluginError(f"{folder} exists, and nothing is overwritten; give another name or folder") from None
    except OSError as error:
        raise PluginError(f"{folder} cannot be made: {error}") from None
    for file, text in rendered:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(text)
    return folder, [file for file, _ in rendered]


def check_name(kind: str, name: str) -> None:
    """Raise PluginError, with a suggestion, for a name that a new plugin cannot have."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        better = re.sub(r"[^a-z0-9]+", "-", name.lower())[:LONGEST].strip("-0123456789")
        hint = f", such as {better}" if _NAME.fullmatch(better) else ", such as my-flow"
        raise PluginError(
            f"'{brief(name)}' is no name for a plugin: use at most {LONGEST} lowercase letters and digits, "
            f"with '-' between words{hint}"
        )
    if name.split("-")[0] == "trilemma":
        raise PluginError(f"leave out 'trilemma-': the package of '{name}' would be called trilemma-{name}")
    registry = Registry()
    if name in registry.names(KINDS[kind]):
        origin = registry.provenance(KINDS[kind], name)
        raise PluginError(f"there is a {kind} '{name}' already, from {origin.distribution}; give another name")


def _values(kind: str, name: str) -> dict[str, Any]:
    """The values that templates use."""
    words = re.split("[-_]", name)
    cls = "".join(word.capitalize() for word in words)
    return {
        "kind": kind,
        "hook": KINDS[kind],
        "name": name,
        "distribution": f"trilemma-{'-'.join(words)}",
        "package": f"trilemma_{'_'.join(words)}",
        "cls": cls + kind.capitalize() if cls in _IMPORTED else cls,
        "title": " ".join(words).capitalize(),
        "version": __version__,
        "year": date.today().year,
    }


def _templates(kind: str, package: str) -> Iterator[tuple[Path, Any]]:
    """The files of a package, with the template of each."""
    for part in ("common", kind):
        for source in _walk(TEMPLATES / part):
            inside = os.path.relpath(str(source), str(TEMPLATES / part)).removesuffix(".j2")
            yield Path(inside.replace("PACKAGE", package)), source


def _walk(folder: Any) -> Iterator[Any]:
    for item in sorted(folder.iterdir(), key=lambda item: str(item.name)):
        if item.is_dir():
            yield from _walk(item)
        elif item.name.endswith(".j2"):
            yield item


def _rendered(source: Any, values: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    # What is rendered is Python, TOML and Markdown, and the values are checked names, so nothing is escaped.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(source.read_text(encoding="utf-8")).render(values)
