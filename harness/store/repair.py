"""The repair of a run directory: damage is set aside, and the marker and run.json are restored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .aside import ASIDE, children, clear_leftovers, is_file, is_folder, note_lost, set_aside
from .claim import FOLDERS, MARKER, marker_problem, write_marker
from .listing import COPY, LIST, is_cell, write_list
from .records import examine
from .store import Store
from .survey import LOCK, OWN, Survey, known_list, survey

_LINE = ("seed", "budget", "device")


def repair(store: Store) -> list[str]:
    """Repair a run directory, and return what was done, a line for each thing.

    What is damaged is moved to `aside`, so that the next run computes it again. Nothing that trilemma did not write is
    changed. Raises StoreError if a run uses the directory, if it is no run directory, or if it cannot be written.
    """
    root = store.path
    survey(root)  # refuses what is not a run directory
    done = []
    if os.path.lexists(root / LOCK) and not is_file(root / LOCK):
        done.append(_moved(root, LOCK))
    with store.locked():
        for name in (ASIDE, *FOLDERS):
            if os.path.lexists(root / name) and not is_folder(root / name):
                done.append(_moved(root, name))
            elif is_folder(root / name) and not os.access(root / name, os.R_OK | os.W_OK | os.X_OK):
                (root / name).chmod(0o755)
                done.append(f"{name}: may be read and written again")
        for name in FOLDERS:
            (root / name).mkdir(exist_ok=True)
        clear_leftovers(root)
        if marker_problem(root):
            done += [_moved(root, MARKER)] if os.path.lexists(root / MARKER) else []
            write_marker(root)
            done.append(f"{MARKER}: written again")
        found = survey(root)
        done += _lists(root, found)
        pending = {finding.place for finding in found.findings if finding.state == "pending"}
        for (kind, id), examined in found.folders.items():
            if f"{kind}/{id}" in pending:
                continue
            kept = store.set_aside(kind, id, examined)
            where = f"moved to {kept}" if kept else f"noted in {note_lost(root, f'{kind}-{id}').relative_to(root)}"
            done.append(f"{kind}/{id}: {examined.problem}: {where}; the next run computes it again")
    return done


def _moved(root: Path, name: str) -> str:
    if name == ASIDE:  # it cannot be moved into itself
        target = next(path for n in range(1, 10**6) if not os.path.lexists(path := root / f"{ASIDE}-damaged-{n}"))
        os.rename(root / name, target)
        return f"{name}: moved to {target.name}"
    return f"{name}: moved to {set_aside(root, root / name, f'file-{name}').relative_to(root)}"


def _lists(root: Path, found: Survey) -> Iterator[str]:
    """Restore run.json and its copy where they are damaged or missing."""
    wrong = [place for place in (LIST, COPY) if any((f.place, f.state) == (place, "damaged") for f in found.findings)]
    if not wrong:
        return
    known = known_list(root)
    source = "its copy" if known and LIST in wrong else LIST
    record: dict[str, Any] = known or {"runs": [], "cells": []}
    if LIST in wrong:
        listed = {cell["id"] for cell in record["cells"]}
        lost = [cell for cell in _recorded(root) if cell["id"] not in listed]
        if lost:
            record = _with(root, record, lost)
            source = f"{source} and {len(lost)} records" if known else f"the records of {len(lost)} cells"
        if not record["cells"]:
            yield f"{LIST}: nothing is left to restore it from; it is moved away, and the next run begins a new one"
    for place in wrong:
        if os.path.lexists(root / place):
            yield _moved(root, place)
    if record["cells"]:
        write_list(root, record["runs"], record["cells"])
        yield f"{', '.join(wrong)}: restored from {source}"


def _recorded(root: Path) -> list[dict[str, Any]]:
    """The cells that records describe, with the time and the environment of each, the oldest first."""
    cells = []
    for folder in children(root / "cells"):
        record = examine(folder, "cells", full=False).record if OWN.fullmatch(folder.name) else None
        cell: Any = (record or {}).get("cell")
        if record and is_cell(cell) and cell["id"] == folder.name:
            cells.append({**cell, "_written": record.get("written", ""), "_environment": record.get("environment")})
    return sorted(cells, key=lambda cell: cell["_written"])


def _with(root: Path, record: dict[str, Any], lost: list[dict[str, Any]]) -> dict[str, Any]:
    """A list with cells that are not in it. Each comes in a later run than the older cells of its line of a table.

    So the latest of them supersedes the others, as it did before.
    """
    depths: dict[str, int] = {}
    lines = [str([cell["model"]["label"], cell["dataset"]["label"], *(cell[key] for key in _LINE)]) for cell in lost]
    for line in lines:
        depths[line] = depths.get(line, 0) + 1
    first, last = len(record["runs"]), len(record["runs"]) + max(depths.values()) - 1
    added = []
    for cell, line in zip(lost, lines, strict=True):
        depths[line] -= 1
        run = last - depths[line]
        evaluations = [{**planned, "run": run} for planned in cell["evaluations"]]
        plain = {key: value for key, value in cell.items() if not key.startswith("_")}
        added.append({**plain, "run": run, "evaluations": evaluations})
    newest: dict[str, Any] = record["runs"][-1] if record["runs"] else {"suite": {"name": root.name}}
    environment = lost[-1]["_environment"] or {}
    runs = [{**newest, "environment": environment, "rebuilt": True} for _ in range(first, last + 1)]
    return {"runs": [*record["runs"], *runs], "cells": [*record["cells"], *added]}
