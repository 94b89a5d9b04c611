"""What is taken away in a run directory: own temporary files, and damaged files, which are kept as evidence.

Only names that trilemma gives are touched, and no link is followed. A folder that holds a file of somebody else is
never deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from .files import WriteError

ASIDE = "aside"
KEPT = 50
"""The number of damaged folders that are kept. Beyond it the oldest are deleted."""

_ID = r"[\w-]+"
_JOB = re.compile(r"job-(timing-)?[0-9a-f]{20}")
_STAGED = re.compile(rf"(?P<old>old-)?(?P<kind>cells|evaluations|data)-(?P<id>{_ID})-\d+")
_STAGED_FILE = re.compile(r"\.(run\.json|run\.json\.bak|trilemma\.json|progress\.json)\.\d+")
_STAGED_INSIDE = re.compile(rf"\.{_ID}\.(safetensors|json)\.\d+")
_ASIDE = re.compile(r"(cells|evaluations|data|file)-[\w.-]+-\d+")
_INSIDE = re.compile(r"(record|trilemma)\.json|run\.json(\.bak)?|\.lock|[a-z_]+\.safetensors|\.record\.json\.\d+")


def leftovers(root: Path) -> Iterator[Path]:
    """The temporary files and folders of killed runs."""
    for entry in children(root / "tmp"):
        if is_folder(entry) and (_JOB.fullmatch(entry.name) or _STAGED.fullmatch(entry.name)):
            yield entry
    for entry in (*children(root / "partial"), *children(root / "reruns")):
        if _STAGED_INSIDE.fullmatch(entry.name) and is_file(entry):
            yield entry
    for entry in children(root):
        if _STAGED_FILE.fullmatch(entry.name) and is_file(entry):
            yield entry


def clear_leftovers(root: Path) -> None:
    """Delete the temporary files of killed runs. Nothing else may write into the directory meanwhile.

    The folder of an older result that a killed run had moved away, and not replaced yet, is put back.
    """
    for entry in list(leftovers(root)):
        staged = _STAGED.fullmatch(entry.name)
        with contextlib.suppress(OSError):
            if not is_folder(entry):
                entry.unlink()
            elif staged and staged["old"] and not os.path.lexists(root / staged["kind"] / staged["id"]):
                os.rename(entry, root / staged["kind"] / staged["id"])
            else:
                shutil.rmtree(entry, ignore_errors=True)


def evidence(root: Path) -> list[Path]:
    """The damaged folders that were kept, the oldest first."""
    found = [entry for entry in children(root / ASIDE) if _ASIDE.fullmatch(entry.name) and is_folder(entry)]
    return sorted(found, key=lambda entry: entry.lstat().st_mtime)


def set_aside(root: Path, place: Path, name: str) -> Path:
    """Move a damaged file or folder to `aside/<name>-<n>`, and return where it is then. A link is moved itself.

    What is not the folder of a cell, an evaluation or data is moved into such a folder. Raises WriteError if it cannot
    be moved.
    """
    folder = root / ASIDE
    try:
        folder.mkdir(exist_ok=True)
        if not is_folder(folder):
            raise WriteError(f"{folder} is not a folder of trilemma; move it away")
        target = _claimed(folder, name)
        try:
            if is_folder(place) and place.parent.parent == root:
                if not os.access(place, os.W_OK | os.X_OK):
                    place.chmod(0o700)  # a folder that may not be written cannot be moved either
                os.rename(place, target)
            else:
                os.rename(place, target / place.name)
        except OSError:
            target.rmdir()
            raise
        os.utime(target)  # the order of `evidence` is that in which things were set aside
    except OSError as error:
        raise WriteError(f"{place} is damaged and could not be moved to {folder}: {error}") from None
    for oldest in evidence(root)[:-KEPT]:
        discard(root, oldest)
    return target


def note_lost(root: Path, name: str) -> Path:
    """Keep an empty folder `aside/<name>-<n>` as evidence of what is missing, and return it. Raises OSError."""
    (root / ASIDE).mkdir(exist_ok=True)
    return _claimed(root / ASIDE, name)


def _claimed(folder: Path, name: str) -> Path:
    """A new folder `<name>-<n>`, with the least n that is free."""
    for number in count(1):
        with contextlib.suppress(FileExistsError):
            target = folder / f"{name}-{number}"
            target.mkdir()
            return target
    raise AssertionError


def foreign(folder: Path) -> list[Path]:
    """What trilemma did not write in one of its folders. Links count, because trilemma makes none."""
    return [entry for entry in children(folder) if not (_INSIDE.fullmatch(entry.name) and is_file(entry))]


def discard(root: Path, place: Path) -> bool:
    """Delete an own file, or an own folder if it holds only own files. Returns whether it was deleted.

    A folder is first moved to `tmp`, so that a kill leaves no half of it behind. Raises OSError.
    """
    if is_file(place):
        place.unlink()
        return True
    if not is_folder(place) or foreign(place):
        return False
    (root / "tmp").mkdir(exist_ok=True)
    away = root / "tmp" / f"cells-gone-{os.getpid()}"
    shutil.rmtree(away, ignore_errors=True)
    os.rename(place, away)
    shutil.rmtree(away)
    return True


def children(folder: Path) -> list[Path]:
    """What is in a folder, by name. Nothing if it is absent, no folder, a link, or cannot be read."""
    try:
        return sorted(folder.iterdir()) if is_folder(folder) else []
    except OSError:
        return []


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name, and not a link to one."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Whether there is a regular file of this name, and not a link to one."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0
