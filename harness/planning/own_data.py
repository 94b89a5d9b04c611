"""The user's own files and folders as datasets of a suite."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..boundary import boundary, described
from ..errors import DataError, PluginError
from ..plugins import Registry
from ..text import LONGEST_NAME, brief, printable
from .choices import Resolved

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def own_entries(paths: Iterable[str | Path], registry: Registry) -> list[dict[str, Any]]:
    """The entries of a suite for files and folders, in the order of their paths.

    Each has a label of its own: the name of the file, with its folder if two files have one name. Raises DataError for
    what is absent, or what no plugin can read.
    """
    found = {path: _entry(path, registry) for path in dict.fromkeys(map(_absolute, paths))}
    names = Counter(entry["label"] for entry in found.values())
    for path, entry in found.items():
        if names[entry["label"]] > 1:
            entry["label"] = f"{path.parent.name}/{entry['label']}"
    labels = Counter(entry["label"] for entry in found.values())
    for number, entry in enumerate(found.values(), 1):
        if labels[entry["label"]] > 1:
            entry["label"] = f"{entry['label']} {number}"
    return list(found.values())


def suite_name(entries: Iterable[dict[str, Any]], suite: str) -> str:
    """The name of a suite that runs on own data: that of the data, and of the suite unless it is the default one."""
    names = [_UNFIT.sub("-", entry["label"]).strip("-._") for entry in entries]
    parts = [*filter(None, names)] or ["data"]
    return "-".join([*parts, *([] if suite == "quick" else [suite])])[:LONGEST_NAME].rstrip("-._")


def refuse_other_data(cells: Iterable[dict[str, Any]], resolved: Resolved, place: Path) -> None:
    """Raise DataError if cells in a run directory are of another file that tables there call by the same label."""
    paths = {choice.label: choice.config.get("path") for choice in resolved.datasets if choice.stamp}
    for cell in cells:
        other = cell["dataset"]["config"].get("path")
        path = paths.get(cell["dataset"]["label"], other)
        if path != other:
            raise DataError(
                f"{place} holds results of {other}, which tables there call '{cell['dataset']['label']}' like {path}: "
                "choose another directory with --out"
            )


def _absolute(path: str | Path) -> Path:
    """An absolute path without `..`. Links stay, because the data is known by the name that it has here."""
    try:
        return Path(os.path.abspath(Path(path).expanduser()))
    except (RuntimeError, ValueError) as error:  # no home folder, or a null byte
        raise DataError(f"--data {brief(printable(path))}: {error}") from None


def _entry(path: Path, registry: Registry) -> dict[str, Any]:
    """The entry for one path: from a plugin, and from the built-in ones last."""
    if not os.path.lexists(path):
        raise DataError(f"{path}: no such file or folder{_near(path)}")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: it cannot be read; check its permissions, and where it leads if it is a link")
    entry = _asked(path, registry)
    if entry is None:
        raise DataError(
            f"{path}: no plugin reads this kind of file. Tables are read from CSV, .parquet, .npy, .npz and idx files,"
            " and images from a folder; save a spreadsheet as CSV, and unpack an archive"
        )
    label = " ".join(printable(str(entry.get("label") or path.name)).split())[: LONGEST_NAME // 2]
    return {**entry, "label": label or "data"}


def _asked(path: Path, registry: Registry) -> dict[str, Any] | None:
    """The entry of the first plugin that knows the kind of a file. Built-in plugins are asked last."""
    problem: DataError | None = None
    for implementation in registry.manager.hook.trilemma_own_data.get_hookimpls()[::-1]:
        try:
            with boundary():
                entry: Any = implementation.function(path=path)
        except DataError as error:
            problem = problem or error
            continue
        except Exception as error:
            what = f"trilemma_own_data of plugin '{implementation.plugin_name}' raised {described(error)}"
            raise PluginError(what) from error
        if entry is not None:
            return dict(entry)
    if problem is not None:
        raise problem
    return None


def _near(path: Path) -> str:
    """A suggestion for a path that is absent: a file beside it with nearly its name."""
    try:
        beside = [item.name for item in path.parent.iterdir()]
    except OSError:
        return f"; there is no folder {path.parent} either" if not path.parent.exists() else ""
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f" (did you mean '{printable(close[0])}'?)" if close else ""
