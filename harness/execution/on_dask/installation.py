"""What is installed on a machine, to find workers whose results would not be those of this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ...plugins import GROUP
from ..environment import PACKAGES

DECISIVE = ("python", "trilemma", "torch", "plugins", "source")
"""What must be equal: other versions of these can give other results, or cannot read what they are sent."""


@cache
def installation() -> dict[str, Any]:
    """The versions of Python, packages and plugins, and a hash of the source code of trilemma."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in (*PACKAGES, "distributed"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    entries = metadata.entry_points(group=GROUP)
    plugins = sorted({f"{entry.dist.name} {entry.dist.version}" for entry in entries if entry.dist})
    return {**found, "plugins": ", ".join(plugins), "source": source_hash()}


@cache
def source_hash() -> str:
    """A hash (16 hex digits) of all Python files of this installation of trilemma."""
    root = Path(__file__).parents[3]
    digest = hashlib.sha256()
    found: list[Path] = []
    for folder, folders, files in os.walk(root, followlinks=True):  # the rooms may be links
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        found += [Path(folder) / name for name in files if name.endswith(".py")]
    for file in sorted(found, key=lambda file: file.relative_to(root).as_posix()):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def differences(here: dict[str, Any], there: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What differs between two installations: that which must be equal, and the rest."""
    decisive: list[str] = []
    rest: list[str] = []
    for name in sorted({*here, *there}):
        if here.get(name) != there.get(name):
            what = "the source code of trilemma" if name == "source" else name
            text = f"{what} is {there.get(name) or 'missing'} there and {here.get(name) or 'missing'} here"
            (decisive if name in DECISIVE else rest).append(text)
    return decisive, rest
