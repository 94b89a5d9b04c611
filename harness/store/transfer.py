"""Copies of folders from one run directory to another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .files import flush
from .store import Store


def transfer(source: Store, target: Store, kind: str, id: str, *, link: bool = True) -> bool:
    """Copy folder `kind/id` as `Store.commit` writes one. Returns whether the source has it, complete.

    With `link`, files are hard links where the file system allows it: a file of a run directory is never changed, only
    replaced. Both directories must be held by the caller. Raises WriteError (full disk) with nothing changed.
    """
    if source.record(kind, id) is None:
        return False
    with target.replacing(kind, id) as staging:
        for file in sorted((source.path / kind / id).iterdir()):
            if file.is_file() and not file.is_symlink():
                _copy(file, staging / file.name, link)
        flush(staging)
    flush(target.path / kind)  # what it was copied from may be deleted next
    return True


def _copy(source: Path, target: Path, link: bool) -> None:
    """Make `target`, which must not exist, the same file as `source`, or a copy of it."""
    if link:
        try:
            os.link(source, target, follow_symlinks=False)
            return
        except OSError:
            pass
    shutil.copyfile(source, target, follow_symlinks=False)
    flush(target)


def transfer_file(source: Path, target: Path, *, link: bool = True) -> None:
    """Copy a file atomically, if there is one; it replaces an older one."""
    if not source.is_file() or source.is_symlink():
        return
    target.parent.mkdir(exist_ok=True)
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        staging.unlink(missing_ok=True)
        _copy(source, staging, link)
        os.replace(staging, target)
    finally:
        staging.unlink(missing_ok=True)
