"""Copies of folders from one run directory to another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .files import flush
from .store import Store


def transfer(source: Store, target: Store, kind: str, id: str) -> bool:
    """Copy folder `kind/id` atomically; it replaces an older one. Returns whether the source has it, complete.

    Files are hard links where the file system allows it: a file of a run directory is never changed, only replaced.
    Both directories must be held by the caller. Raises OSError (full disk) with nothing changed.
    """
    if source.record(kind, id) is None:
        return False
    staging = target.path / "tmp" / f"{kind}-{id}-{os.getpid()}"
    old = staging.with_name(f"old-{staging.name}")
    goal = target.path / kind / id
    try:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(source.path / kind / id, staging, copy_function=link_or_copy)
        flush(staging)
        if goal.exists():
            os.rename(goal, old)
        os.rename(staging, goal)
        flush(goal.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return True


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make `target` the same file as `source`, or a copy of it. It must not exist."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
        flush(Path(target))


def transfer_file(source: Path, target: Path) -> None:
    """Copy a file atomically, if there is one; it replaces an older one."""
    if not source.is_file() or source.is_symlink():
        return
    target.parent.mkdir(exist_ok=True)
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        staging.unlink(missing_ok=True)
        link_or_copy(source, staging)
        os.replace(staging, target)
    finally:
        staging.unlink(missing_ok=True)
