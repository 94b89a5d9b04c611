"""The folders of a run directory: what a whole one holds, and how it is checked.

A folder holds record.json, which is sealed, and files of tensors. The record lists these files with size and checksum.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import DamagedError, checksum, read_sealed

RECORD = "record.json"
_ENDING = {"outcome", "phase", "elapsed", "message"}


@dataclass(frozen=True)
class Examined:
    """What was found in one folder.

    `record` is what record.json says. It is None if there is none, or if it is damaged. `problem` says what is wrong in
    the folder, and is empty for a folder that is whole or absent. `files` are the files that are damaged or missing.
    """

    record: dict[str, Any] | None
    problem: str = ""
    files: tuple[str, ...] = ()

    @property
    def whole(self) -> dict[str, Any] | None:
        """The record, if nothing in the folder is damaged or missing."""
        return None if self.problem else self.record


def examine(folder: Path, kind: str, *, full: bool) -> Examined:
    """Check a folder of a kind (`cells`, `evaluations`, `data`).

    The checksum of the record is always checked. The files that it lists are checked for their size, and, with `full`,
    for their checksum. Raises nothing.
    """
    try:
        mode = folder.lstat().st_mode
    except OSError as error:
        return Examined(None, "" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})")
    if not stat.S_ISDIR(mode):
        what = "a link, which trilemma does not follow" if stat.S_ISLNK(mode) else "not a folder"
        return Examined(None, f"it is {what}")
    try:
        record = read_sealed(folder / RECORD)
        if not _is_complete(kind, record):
            raise DamagedError("is damaged (entries are missing)")
    except FileNotFoundError:
        return Examined(None, f"{RECORD} is missing", (RECORD,))
    except DamagedError as damage:
        return Examined(None, f"{RECORD} {damage}", (RECORD,))
    wrong = {name: said for name, entry in record["files"].items() if (said := _wrong(folder / name, entry, full))}
    return Examined(record, "; ".join(f"{name} {said}" for name, said in wrong.items()), tuple(wrong))


def entry_of(file: Path) -> dict[str, Any]:
    """What a record says of a file: its size in bytes and its checksum."""
    return {"size": file.stat().st_size, "sha256": checksum(file)}


def _wrong(file: Path, entry: dict[str, Any], full: bool) -> str:
    """What is wrong with a file that a record lists; empty if nothing is."""
    try:
        found = os.lstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_size != entry["size"]:
            return f"is damaged (it has {found.st_size} bytes instead of {entry['size']})"
        if not stat.S_ISREG(found.st_mode) or full:
            return "" if checksum(file) == entry["sha256"] else "is damaged (its checksum does not match)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except DamagedError as damage:
        return str(damage)
    return ""


def _is_complete(kind: str, record: dict[str, Any]) -> bool:
    """Whether a record has the entries that are read."""
    files = record.get("files")
    if not isinstance(files, dict) or not all(has(entry, {"size", "sha256"}) for entry in files.values()):
        return False
    if kind == "cells":
        return has(record, _ENDING) and (record["outcome"] != "ok" or has(record.get("training"), {"steps"}))
    if kind == "evaluations":
        return (
            has(record, {*_ENDING, "nfe"})
            and all_have(record.get("results"), {"metric", "value", "details", "computed_by"})
            and all_have(record.get("not_computed"), {*_ENDING, "metric"})
        )
    return True


def has(value: Any, keys: set[str]) -> bool:
    """Whether a value is a record with these keys."""
    return isinstance(value, dict) and keys <= value.keys()


def all_have(values: Any, keys: set[str]) -> bool:
    """Whether a value is a list of records with these keys."""
    return isinstance(values, list) and all(has(value, keys) for value in values)
