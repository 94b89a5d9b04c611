"""Which directories trilemma writes into: new ones, empty ones, and those that it made itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreError
from .aside import ASIDE, children, is_file, is_folder
from .files import FORMAT, DamagedError, read_json, read_sealed, write_sealed
from .listing import COPY, LIST, read_run
from .records import RECORD

MARKER = "trilemma.json"
FOLDERS = ("cells", "evaluations", "data", "logs", "tmp", "partial")
PROGRESS = "progress.json"  # of the run that goes on, or of the latest
PARTS = "parts"  # of a run on a cluster, while it lasts
RERUNS = "reruns"
_OTHER = "choose another with --out"


def claim_directory(path: Path, *, of: Path | None = None) -> None:
    """Make `path` a run directory. It must not exist, or be empty, or already have the marker of trilemma.

    So trilemma never changes files that it did not write. With `of`, the directory is for a report of that run, and
    must not be the directory of another run. Raises StoreError for any other directory, before anything is written.
    """
    check_claim(path)
    if of is not None and (path / "run.json").exists() and path.resolve() != of.resolve():
        raise StoreError(f"{path} is the directory of another run, whose report would be replaced; {_OTHER}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / MARKER).exists():
            write_marker(path)
    except OSError as error:
        raise StoreError(f"directory {path} cannot be written: {error}; {_OTHER}") from None


def check_claim(path: Path) -> None:
    """Check without writing that `claim_directory` would succeed. Raises StoreError if it would not."""
    try:
        if not path.exists():
            _check_new(path)
            return
        empty = path.is_dir() and not any(path.iterdir())
    except OSError as error:
        raise StoreError(f"directory {path} cannot be read: {error}; {_OTHER}") from None
    if not path.is_dir():
        raise StoreError(f"{path} is a file, not a directory; {_OTHER}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise StoreError(f"directory {path} cannot be written: permission denied; {_OTHER}")
    if empty:
        return
    check_marker(
        path,
        f"directory {path} is not empty and was not made by trilemma (it holds no {MARKER}); "
        f"nothing in it was changed; {_OTHER}",
    )
    for name in (*FOLDERS, ASIDE, PARTS, RERUNS):
        if (path / name).is_symlink():
            raise StoreError(f"{path / name} is a link, which trilemma does not follow; remove it")
    read_run(path)


def _check_new(path: Path) -> None:
    """Check that a directory that does not exist can be made."""
    if path.is_symlink():
        raise StoreError(f"{path} is a link to {os.readlink(path)}, which does not exist; {_OTHER}")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise StoreError(f"directory {path} cannot be made: {above} is not a directory; {_OTHER}")
    if not os.access(above, os.W_OK | os.X_OK):
        raise StoreError(f"directory {path} cannot be made: {above} cannot be written; {_OTHER}")


def write_marker(path: Path) -> None:
    """Write the marker of a run directory. Raises WriteError."""
    write_sealed(path / MARKER, {"format": FORMAT, "about": "this directory is written by trilemma"})


def marker_problem(path: Path) -> str:
    """What is wrong with the marker of a directory, such as `is missing` or `has the format 2`; empty if nothing is."""
    try:
        read_sealed(path / MARKER)
    except FileNotFoundError:
        return "is missing"
    except DamagedError as damage:
        return str(damage)
    return ""


def check_marker(path: Path, otherwise: str) -> None:
    """Check that trilemma made the directory. Raises StoreError, with the message `otherwise` if nothing says more."""
    problem = marker_problem(path)
    if not problem:
        return
    if problem.startswith("has the format"):
        raise StoreError(
            f"{path} {problem}, but this version of trilemma reads and writes format {FORMAT}; choose another directory"
        )
    if is_ours(path):
        raise StoreError(f"the marker {path / MARKER} {problem}; `trilemma doctor {path} --repair` restores it")
    if problem == "is missing" and "cells" in (read_json(path / LIST) or {}):
        raise StoreError(
            f"{path} was written by trilemma 0.1, whose run directories have no marker ({MARKER}) and identify cells "
            f"in another way, so this version neither reads nor changes it; {_OTHER}"
        )
    raise StoreError(otherwise)


def is_ours(path: Path) -> bool:
    """Whether a directory is a run directory of this format, also where its marker is lost or damaged.

    Then its run.json, the copy of it, or a record of a folder is whole.
    """
    if not marker_problem(path):
        return True
    folders = (folder for kind in ("cells", "evaluations", "data") for folder in children(path / kind))
    records = (folder / RECORD for folder in folders if is_folder(folder))
    for file in (path / LIST, path / COPY, *(record for record in records if is_file(record))):
        try:
            read_sealed(file)
        except (FileNotFoundError, DamagedError):
            continue
        return True
    return False


@contextlib.contextmanager
def exclusive(file: Path, user: str) -> Iterator[None]:
    """Lock a file of a run directory for one `user`, such as a run. Raises StoreError if another one holds it.

    The lock ends with the process that holds it, so a file that a killed one left is harmless. A link is not followed.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        stream = os.fdopen(os.open(file, flags, 0o644), "rb")
    except OSError as error:
        raise StoreError(f"run directory {file.parent} cannot be written: {error}; choose another with --out") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"another {user} is using {file.parent}; wait for it, or choose another directory with --out"
            ) from None
        yield
