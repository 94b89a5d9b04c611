"""Merging run directories, such as the shards of a suite that ran on several machines."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import StoreError
from .merged_records import Copier, Merged, about
from .merged_runs import merges, missing_shards
from .store import Store

Progress = Callable[[int, int], None]
"""It gets the number of cells and datasets that are done, and how many there are."""


def merge(sources: Sequence[str | Path], out: str | Path, progress: Progress = lambda done, total: None) -> Merged:
    """Merge the run directories `sources` into `out`, a new directory or one that trilemma made.

    The sources are only read, and no run can use them meanwhile. What `out` has stays, unless a source has something
    better: a result is better than a failure. Each record is copied completely or not at all, and what is in `out` is
    not copied again, so an interrupted merge is finished by merging again.

    A cell and its evaluations belong together: evaluations are taken from a directory only if the trained model is that
    of the same directory, or the same bit for bit.

    Raises StoreError before anything is written if a source is no run directory, is used by a run, or is `out`, or if
    `out` cannot be used.
    """
    target, done = Store(out), Merged()
    stores = _distinct(sources, target, done)
    with contextlib.ExitStack() as stack:
        for store in stores:
            store.run()  # raises for what is no run directory, before anything is locked or written
            stack.enter_context(_unchanging(store))
        given = [store.run() for store in stores]
        stack.enter_context(target.writing())
        before = target.run() if os.path.lexists(target.path / "run.json") else None
        for run in merges(before, given):
            target.write_run(run.record, run.cells)
        record = target.run()
        done.notes += missing_shards(record)
        listed = {cell["id"]: cell for cell in record["cells"]}
        copiers = [Copier(store, run, target, listed, done) for store, run in zip(stores, given, strict=True)]
        total, count = sum(len(copier.folders) for copier in copiers), 0
        progress(0, total)
        for copier in copiers:
            for kind, id in copier.folders:
                copier.take(kind, id)
                count += 1
                progress(count, total)
    for copier in copiers:
        lost = [(kind, id) for kind, id in copier.damaged if target.record(kind, id) is None]
        done.left_out += [f"{copier.source.path / kind / id}{about(listed, kind, id)}" for kind, id in lost]
    return done


def _distinct(sources: Sequence[str | Path], target: Store, done: Merged) -> list[Store]:
    """The sources as stores, each directory once. Raises StoreError for `out` among them or inside of one."""
    stores: dict[Path, Store] = {}
    here = target.path.resolve()
    for source in sources:
        store = Store(source)
        path = store.path.resolve()
        if path == here:
            raise StoreError(
                f"{source} is the directory to merge into; leave it out of the sources: what it holds stays in it"
            )
        if here.is_relative_to(path):
            raise StoreError(f"{target.path} lies inside of {source}, which is only read; choose another with --out")
        if path in stores:
            done.notes.append(f"{source} was given twice and is merged once")
            continue
        stores[path] = store
        done.directories.append(str(source))
    return list(stores.values())


@contextlib.contextmanager
def _unchanging(store: Store) -> Iterator[None]:
    """Keep runs out of a directory. It is only read, the file of the lock too. Raises StoreError if a run uses it."""
    try:
        lock = os.open(store.path / ".lock", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # a copy without it, which no run uses
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(lock)
            raise StoreError(f"a run is using {store.path}; wait for it, or stop it, and merge then") from None
    try:
        yield
    finally:
        os.close(lock)
