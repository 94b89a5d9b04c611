"""A look at every file of a run directory: what is whole, what is damaged, what is left over, and what is not ours."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .aside import ASIDE, children, evidence, foreign, is_file, is_folder, leftovers
from .claim import FOLDERS, MARKER, PARTS, PROGRESS, RERUNS, is_ours, marker_problem
from .files import DamagedError
from .listing import COPY, LIST, read_list
from .records import RECORD, Examined, examine

KINDS = ("cells", "evaluations", "data")
LOCK = ".lock"
OWN = re.compile(r"[0-9a-f]{20}")
"""The names of folders that trilemma makes."""
LOG = re.compile(r"(?:timing-)?([0-9a-f]{20})\.log")
STATE = re.compile(r"[0-9a-f]{20}\.safetensors")
RERUN = re.compile(r"[0-9a-f]{20}\.json")
LEAST_FREE = 2**29  # bytes
_THREADS = 4


@dataclass(frozen=True)
class Finding:
    """What was found at one place of a run directory, relative to it.

    `state` is `ok`, `damaged`, `pending` (listed and not computed yet), `unlisted` (of no run), `leftover` (of a killed
    run), `aside` (kept evidence of damage), `other` (not written by the store, and never changed) or `note`.
    """

    place: str
    state: str
    detail: str


@dataclass(frozen=True)
class Survey:
    """The findings in a run directory, and what is damaged in its folders, by kind and id."""

    findings: list[Finding]
    folders: dict[tuple[str, str], Examined]

    @property
    def damaged(self) -> bool:
        """Whether anything is damaged."""
        return any(finding.state == "damaged" for finding in self.findings)


def survey(root: Path) -> Survey:
    """Check every file of a run directory in full, and change nothing. Raises StoreError if it is no run directory."""
    if not root.is_dir():
        raise StoreError(f"there is no run directory {root}")
    if not is_ours(root):
        problem = marker_problem(root)
        said = problem if problem.startswith("has the format") else f"was not made by trilemma ({MARKER} {problem})"
        raise StoreError(f"directory {root} {said}, so it was not checked")
    busy = in_use(root)
    listed = listed_ids(known_list(root))
    found = {
        (kind, id): examined
        for kind in KINDS
        for id, examined in _folders(root, kind)
        if listed is None or id in listed[kind] or not _is_foreign(root / kind / id)
    }
    findings = [_marker(root), *_lists(root), *_places(root)]
    for kind in KINDS:
        here = {id: examined for (of, id), examined in found.items() if of == kind}
        findings += _of_kind(root, kind, here, None if listed is None else listed[kind])
    if busy:
        findings.append(Finding("tmp", "note", "a run is using this directory; what is in tmp belongs to it"))
    else:
        findings += [_at(root, entry, "leftover", "a temporary file of a killed run") for entry in leftovers(root)]
    findings += [_at(root, entry, "aside", "damage that was set aside") for entry in evidence(root)]
    findings += _others(root, listed)
    findings.append(_disk(root))
    return Survey(findings, {key: examined for key, examined in found.items() if examined.problem})


def in_use(root: Path) -> bool:
    """Whether a run has locked the directory."""
    try:
        descriptor = os.open(root / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def known_list(root: Path) -> dict[str, Any] | None:
    """The list of runs and cells: of run.json, or, if that is lost, of its copy. None if neither can be read."""
    for name in (LIST, COPY):
        try:
            return read_list(root / name)
        except (FileNotFoundError, DamagedError):
            continue
    return None


def listed_ids(record: dict[str, Any] | None) -> dict[str, dict[str, None]] | None:
    """The folders of each kind that a list names, in its order."""
    if record is None:
        return None
    cells = record["cells"]
    return {
        "cells": dict.fromkeys(cell["id"] for cell in cells),
        "evaluations": dict.fromkeys(planned["id"] for cell in cells for planned in cell["evaluations"]),
        "data": dict.fromkeys(cell["data_id"] for cell in cells),
    }


def _marker(root: Path) -> Finding:
    problem = marker_problem(root)
    return Finding(MARKER, "damaged" if problem else "ok", problem or "says that trilemma writes this directory")


def _lists(root: Path) -> Iterator[Finding]:
    runs: dict[str, Any] = {}
    for name in (LIST, COPY):
        try:
            runs[name] = read_list(root / name)
            size = f"{len(runs[name]['cells'])} cells of {len(runs[name]['runs'])} runs"
            old = name == COPY and LIST in runs and runs[COPY] != runs[LIST]
            yield Finding(name, "note" if old else "ok", f"is older than {LIST}" if old else f"lists {size}")
        except FileNotFoundError:
            if name == LIST and not os.path.lexists(root / COPY) and not any(children(root / "cells")):
                yield Finding(name, "note", "is missing: no run has begun")
            else:
                yield Finding(name, "damaged", "is missing")
        except DamagedError as damage:
            yield Finding(name, "damaged", str(damage))


def _places(root: Path) -> Iterator[Finding]:
    """Folders that are missing, or something else than folders, and a lock that is no file."""
    for name in (*FOLDERS, ASIDE, RERUNS):
        if not is_folder(root / name) and os.path.lexists(root / name):
            link = "a link, which trilemma does not follow" if (root / name).is_symlink() else "not a folder"
            yield Finding(name, "damaged", f"is {link}")
        elif is_folder(root / name) and not os.access(root / name, os.R_OK | os.W_OK | os.X_OK):
            yield Finding(name, "damaged", "may not be read or written (permission denied)")
    if os.path.lexists(root / LOCK) and not is_file(root / LOCK):
        yield Finding(LOCK, "damaged", "is not a file")


def _folders(root: Path, kind: str) -> Iterator[tuple[str, Examined]]:
    """Each folder of a kind, examined in full."""
    names = [entry.name for entry in children(root / kind) if OWN.fullmatch(entry.name)]

    def look(name: str) -> Examined:
        found = examine(root / kind / name, kind, full=True)
        # Of each record only the files are kept: there may be tens of thousands.
        return replace(found, record=found.record and {"files": found.record["files"]})

    with ThreadPoolExecutor(_THREADS) as pool:
        yield from zip(names, pool.map(look, names), strict=True)


def _is_foreign(entry: Path) -> bool:
    """Whether a name of trilemma was given by somebody else: to a link, a file, or a folder without a record."""
    return not is_folder(entry) or not os.path.lexists(entry / RECORD)


def _of_kind(root: Path, kind: str, found: dict[str, Examined], listed: dict[str, None] | None) -> Iterator[Finding]:
    whole = [examined.record for examined in found.values() if examined.record and not examined.problem]
    if whole:
        files = [entry["size"] for record in whole for entry in record["files"].values()]
        detail = f"{len(whole)} whole, with {len(files)} files of {sum(files) / 2**20:.1f} MiB, all checksums match"
        yield Finding(kind, "ok", detail)
    noted = {entry.name.rpartition("-")[0] for entry in evidence(root)}
    for id, examined in found.items():
        lost = examined.record and not any(os.path.lexists(root / kind / id / name) for name in examined.files)
        if examined.problem and lost and f"{kind}-{id}" in noted:
            yield Finding(f"{kind}/{id}", "pending", f"{examined.problem}; the next run computes it again")
        elif examined.problem:
            yield Finding(f"{kind}/{id}", "damaged", examined.problem)
        elif listed is not None and id not in listed:
            yield Finding(f"{kind}/{id}", "unlisted", "no run lists it")
    for id in listed or ():
        if id not in found:
            yield Finding(f"{kind}/{id}", "pending", "is listed and not computed yet")


def _others(root: Path, listed: dict[str, dict[str, None]] | None) -> Iterator[Finding]:
    """What the store did not write: reports, the user's own files, links."""
    names = {MARKER, LIST, COPY, LOCK, ASIDE, PARTS, PROGRESS, RERUNS, *FOLDERS}
    gone = {str(entry.relative_to(root)) for entry in (*leftovers(root), *evidence(root))}
    here = [entry for entry in children(root) if entry.name not in names]
    for kind in KINDS:
        for entry in children(root / kind):
            ours = OWN.fullmatch(entry.name) and (
                listed is None or entry.name in listed[kind] or not _is_foreign(entry)
            )
            here += foreign(entry) if ours else [entry]
    here += [entry for name in ("tmp", ASIDE) for entry in children(root / name)]
    for folder, own in (("logs", LOG), ("partial", STATE), (RERUNS, RERUN)):
        here += [entry for entry in children(root / folder) if not (own.fullmatch(entry.name) and is_file(entry))]
    for entry in here:
        if str(entry.relative_to(root)) not in gone:
            yield _at(root, entry, "other", "a report or somebody's own; never changed")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    low = " (less than is safe for a run)" if free < LEAST_FREE else ""
    return Finding("disk", "note" if low else "ok", f"{free / 2**30:.1f} GiB free{low}")


def _at(root: Path, entry: Path, state: str, detail: str) -> Finding:
    return Finding(str(entry.relative_to(root)), state, detail)
