"""Parts of a run: run directories of their own in `parts/`, each for the cells of one job.

parts/<name>/part.json   what the job is to do: the suite, plugin files, and cells
parts/<name>/job.json    the identity of the job, once it is submitted
parts/<name>/stop        if it exists, the job starts no more cells
parts/jobs/              what submitit writes: scripts, logs, and pickles of the path of a part
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...planning.cell import Cell
from ...store.claim import PARTS
from ...store.files import write_json
from ...store.store import Store
from ...store.transfer import transfer, transfer_file
from ..progress import Todo

FORMAT = 1
JOBS = "jobs"
_PART = re.compile(r"\d{8}-\d{6}-\d{9}-\d+")
PARTIAL = "partial"
_NAME = re.compile(r"\w+")


@dataclass(frozen=True)
class Part:
    """A part by its folder, which is absolute."""

    folder: Path

    @cached_property
    def store(self) -> Store:
        """The run directory of the part."""
        return Store(self.folder)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The content of part.json. Raises OSError if it is gone, ValueError if it is damaged."""
        spec = json.loads((self.folder / "part.json").read_text(encoding="utf-8"))
        if not isinstance(spec, dict) or spec.get("format") != FORMAT:
            raise ValueError(f"{self.folder / 'part.json'} is of another version of trilemma")
        entries = spec["cells"].values()
        names = [*spec["cells"], *(id for each in entries for id in (*each["evaluations"], *each["timings"]))]
        if not all(_NAME.fullmatch(name) for name in names):  # they become paths
            raise ValueError(f"{self.folder / 'part.json'} is damaged")
        return spec

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        """What the job is to do, by the id of the cell: `train`, `evaluations`, `timings`, as in Todo.

        `attempt` counts from 0, and `replay` is the trace of a repeat.
        """
        cells: dict[str, dict[str, Any]] = self.spec["cells"]
        return cells

    # The job

    @property
    def job(self) -> dict[str, str] | None:
        """The content of job.json: `cluster` and `id`; None before the job is submitted."""
        try:
            job: dict[str, str] = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
            return job if _NAME.fullmatch(job["id"]) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def submitted(self, cluster: str, id: str) -> None:
        """Store the identity of the job."""
        write_json(self.folder / "job.json", {"cluster": cluster, "id": id})

    @property
    def stopping(self) -> bool:
        """Whether the job is to start no more cells."""
        return (self.folder / "stop").exists()

    def stop(self) -> None:
        """Let the job start no more cells."""
        (self.folder / "stop").touch()

    # What the job did

    @property
    def ending(self) -> str:
        """Why the job stopped early, in a word, as far as it could say so."""
        try:
            return (self.folder / "ended").read_text(encoding="utf-8")[:40]
        except (OSError, ValueError):
            return ""

    def began(self, cell: str) -> bool:
        """Whether the job started a process for a cell."""
        return any((self.folder / "logs" / f"{name}.log").exists() for name in (cell, f"timing-{cell}"))

    def rest(self, todo: Todo) -> Todo | None:
        """What remains of a todo after the job; None if everything has a record."""
        record = self.store.record("cells", todo.cell.id)
        if record is None:
            return todo
        if record["outcome"] != "ok":
            return None
        evaluations = tuple(id for id in todo.evaluations if self.store.record("evaluations", id) is None)
        timings = tuple(id for id in todo.timings if not _complete(self.store.record("evaluations", id)))
        if not (evaluations or timings):
            return None
        return replace(todo, train=False, evaluations=evaluations, timings=timings)

    def outcome(self, todo: Todo) -> dict[str, Any]:
        """The worst outcome of a cell of which nothing remains."""
        ids = [("cells", todo.cell.id), *(("evaluations", id) for id in (*todo.evaluations, *todo.timings))]
        records = [record for kind, id in ids if (record := self.store.record(kind, id)) is not None]
        return next((record for record in records if record["outcome"] != "ok"), records[0])

    def merge(self, store: Store) -> bool:
        """Copy what the job did into the run directory. Returns whether everything is there and readable.

        What it left unfinished is copied too: partial trainings, and times of some rounds. Raises OSError (full disk).
        """
        done = []
        for id, entry in self.cells.items():
            if self._superseded(store, id, entry):
                continue
            if entry["train"] and transfer(self.store, store, "cells", id):
                (store.path / PARTIAL / f"{id}.safetensors").unlink(missing_ok=True)
                done.append(("cells", id))
            planned = (*entry["evaluations"], *entry["timings"])
            done += [("evaluations", each) for each in planned if transfer(self.store, store, "evaluations", each)]
            for file in (f"logs/{id}.log", f"logs/timing-{id}.log", f"{PARTIAL}/{id}.safetensors"):
                transfer_file(self.folder / file, store.path / file)
        return all(store.record(kind, id) == self.store.record(kind, id) for kind, id in done)

    def _superseded(self, store: Store, id: str, entry: Mapping[str, Any]) -> bool:
        """Whether the run directory has trained a cell meanwhile. That stays, unless the job was asked to repeat it."""
        mine, theirs = (each.record("cells", id) for each in (store, self.store))
        if not entry["train"] or mine is None or mine["outcome"] != "ok":
            return False
        return entry["replay"] is None or theirs is None or theirs["outcome"] != "ok"

    def remove(self) -> None:
        """Remove the part. If this is interrupted, the next launcher removes the rest."""
        with contextlib.suppress(OSError):
            (self.folder / "part.json").unlink(missing_ok=True)
            shutil.rmtree(self.folder)


def create_part(
    home: Store, name: str, spec: Mapping[str, Any], todo: Mapping[str, tuple[Todo, int]], datasets: Iterable[str]
) -> Part:
    """Make a part for cells, each with its attempt. It gets what the cells go on with, and the cards of datasets."""
    part = Part(home.path.resolve() / PARTS / name)
    with part.store.writing():
        for id in datasets:
            transfer(home, part.store, "data", id)
        for id, (item, _) in todo.items():
            for kind, needed in _needed(home, item):
                transfer(home, part.store, kind, needed)
            partial = f"{PARTIAL}/{id}.safetensors"
            transfer_file(home.path / partial, part.folder / partial)
        cells = {
            id: {
                "train": item.train,
                "evaluations": item.evaluations,
                "timings": item.timings,
                "replay": item.replay,
                "attempt": attempt,
            }
            for id, (item, attempt) in todo.items()
        }
        write_json(part.folder / "part.json", {"format": FORMAT, **spec, "cells": cells})
    return part


def existing_parts(home: Store) -> Iterator[Part]:
    """The parts that an earlier launcher left, in order. What is left of a part without part.json is removed."""
    folder = home.path.resolve() / PARTS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _PART.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue  # the files of submitit, or what somebody else put here
        if (path / "part.json").exists():
            yield Part(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


def remove_parts(home: Store) -> None:
    """Remove `parts/` with the files of submitit, if no part is left in it."""
    if any(existing_parts(home)):
        return
    folder = home.path / PARTS
    if not folder.is_symlink() and not (folder / JOBS).is_symlink():
        shutil.rmtree(folder / JOBS, ignore_errors=True)
        with contextlib.suppress(OSError):  # it is not empty, or was never there
            folder.rmdir()


def covers(entry: Mapping[str, Any], todo: Todo) -> bool:
    """Whether a job that does `entry` does all of a todo."""
    return (
        (entry["train"] or not todo.train)
        and set(entry["evaluations"]) >= set(todo.evaluations)
        and set(entry["timings"]) >= set(todo.timings)
    )


def todo_of(cell: Cell, entry: Mapping[str, Any]) -> Todo:
    """What a part is to do for a cell, as a todo."""
    evaluations, timings = tuple(entry["evaluations"]), tuple(entry["timings"])
    return Todo(cell, entry["train"], evaluations, timings, "", entry["replay"])


def _needed(home: Store, todo: Todo) -> Iterator[tuple[str, str]]:
    """What a job needs of a cell: nothing of one that it trains, else the trained model and what is not done again."""
    if todo.train:
        return
    yield "cells", todo.cell.id
    again = {*todo.evaluations, *(id for id in todo.timings if _complete(home.record("evaluations", id)))}
    yield from (("evaluations", planned.id) for planned in todo.cell.evaluations if planned.id not in again)


def _complete(record: dict[str, Any] | None) -> bool:
    """Whether the record of an evaluation of times is whole: all its rounds, or a failure."""
    return record is not None and (record["outcome"] != "ok" or bool(record.get("complete")))
