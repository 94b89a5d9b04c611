"""What was read from files and is kept in the user's cache folder, as long as these files stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import platformdirs

KEPT = 500  # records of a kind


def recall(kind: str, about: Iterable[object]) -> dict[str, Any] | None:
    """The record that is remembered `about` something; None if there is none, or if a file has changed."""
    try:
        with open(_file(kind, about), "rb") as stream:
            known = json.load(stream)
        unchanged = all(stamp == opened_stamp(path) for path, stamp in known["files"].items())
        record = known["record"] if unchanged else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def remember(kind: str, about: Iterable[object], record: dict[str, Any], files: Iterable[str]) -> None:
    """Remember a record (JSON) that was read from files. Where nothing can be written, nothing is remembered."""
    stamps = {path: opened_stamp(path) for path in files}
    file = _file(kind, about)
    staging = f"{file}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(staging, "w", encoding="utf-8") as stream:
            json.dump({"files": stamps, "record": record}, stream)
        os.replace(staging, file)
        _forget_oldest(os.path.dirname(file))


def file_stamp(path: str | os.PathLike[str]) -> str:
    """A text that changes when a file changes, by all that the file system says; `absent` if there is none."""
    try:
        return _text(os.stat(path))
    except OSError:
        return "absent"


def opened_stamp(path: str) -> str:
    """The stamp of a file that is opened for it, so that a `Witness` notes that it was used. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _text(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _text(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_size} {found.st_ino}"


def _file(kind: str, about: Iterable[object]) -> str:
    key = json.dumps([sys.version, *map(str, about)])
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    return os.path.join(platformdirs.user_cache_dir("trilemma"), kind, name)


def _forget_oldest(folder: str) -> None:
    files = [entry for entry in os.scandir(folder) if entry.name.endswith(".json")]
    for entry in sorted(files, key=lambda entry: entry.stat().st_mtime)[:-KEPT]:
        os.unlink(entry.path)
