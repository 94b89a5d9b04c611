"""What nothing needs any more in a run directory, and its deletion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .aside import children, discard, evidence, is_file, is_folder, leftovers
from .claim import RERUNS, check_claim
from .frame import load_frame
from .listing import write_list
from .store import Store
from .survey import KINDS, LOG, OWN, RERUN, STATE, in_use, listed_ids


@dataclass(frozen=True)
class Garbage:
    """A file or folder that nothing needs: where it is, relative to the run directory, why, and its size in bytes."""

    place: str
    why: str
    size: int


def garbage(store: Store) -> list[Garbage]:
    """What nothing needs: superseded results, folders of no run, set-aside damage, leftovers, logs of lost cells.

    Raises StoreError if the directory holds no run, or if its run.json cannot be read.
    """
    root = store.path
    record = store.run()
    needed = listed_ids(_needed(store, record)) or {}
    listed = listed_ids(record) or {}
    found = []
    for kind in KINDS:
        keep, known = set(needed[kind]), set(listed[kind])
        found += [
            (entry, "superseded" if entry.name in known else "no run lists it")
            for entry in children(root / kind)
            if OWN.fullmatch(entry.name) and entry.name not in keep and is_folder(entry)
        ]
    keep = {*needed["cells"], *needed["data"]}
    for entry in children(root / "logs"):
        log = LOG.fullmatch(entry.name)
        if log and log[1] not in keep and is_file(entry):
            found.append((entry, "the log of a cell that is gone"))
    found += [
        (entry, "the training of a cell that is gone")
        for entry in children(root / "partial")
        if STATE.fullmatch(entry.name) and entry.stem not in needed["cells"] and is_file(entry)
    ]
    found += [
        (entry, "the repetition of a cell that is gone")
        for entry in children(root / RERUNS)
        if RERUN.fullmatch(entry.name) and entry.stem not in needed["cells"] and is_file(entry)
    ]
    found += [(entry, "damage that was set aside") for entry in evidence(root)]
    if store.held or not in_use(root):
        found += [(entry, "a temporary file of a killed run") for entry in leftovers(root)]
    return [Garbage(str(entry.relative_to(root)), why, _size(entry)) for entry, why in found]


def collect(store: Store) -> tuple[list[Garbage], list[Garbage]]:
    """Delete what nothing needs. Returns what was deleted, and what could not be, because it holds files of
    somebody else or may not be changed.

    run.json is written first, without what is superseded. After a kill, what is left is what no run lists, and is
    deleted the next time. Raises StoreError.
    """
    check_claim(store.path)
    store.run()  # refuses what is no run directory, before the lock is made in it
    with store.locked():
        found = garbage(store)
        record = store.run()
        needed = _needed(store, record)
        if needed["cells"] != record["cells"]:
            write_list(store.path, needed["runs"], needed["cells"])
        deleted = {item.place: _deleted(store.path, item.place) for item in found}
    return [item for item in found if deleted[item.place]], [item for item in found if not deleted[item.place]]


def _deleted(root: Path, place: str) -> bool:
    try:
        return discard(root, root / place)
    except OSError:  # read-only, or without permission: it stays, and is found again the next time
        return False


def _needed(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """The list of a run directory without the cells and evaluations all of whose results are superseded."""
    frame = load_frame(store, superseded=True)
    old, older = (
        set(frame[name].dropna()) - set(frame.loc[~frame["superseded"], name].dropna())
        for name in ("cell", "evaluation")
    )
    kept = [
        {**cell, "evaluations": [planned for planned in cell["evaluations"] if planned["id"] not in older]}
        for cell in record["cells"]
        if cell["id"] not in old
    ]
    return {**record, "cells": kept}


def _size(path: Path) -> int:
    return sum(_sizes(path))


def _sizes(path: Path) -> Iterator[int]:
    """The sizes of a file, or of the files in a folder. Links are not followed."""
    yield os.lstat(path).st_size if is_file(path) else 0
    for entry in children(path):
        yield from _sizes(entry)
