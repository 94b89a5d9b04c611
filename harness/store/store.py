"""The run directory: one folder per trained cell and per evaluation, each written completely or not at all.

    trilemma.json             the marker, which says that the directory belongs to trilemma
    progress.json             the state of the run that goes on, or of the latest, for `trilemma watch`
    run.json                  every run into this directory (suite, environment), and all planned cells; run.json.bak
    cells/<id>/               record.json (outcome, training, curves), model.safetensors
    evaluations/<id>/         record.json (results), samples.safetensors
    data/<id>/                record.json (card), test.safetensors
    partial/<id>.safetensors  the state of a training that was interrupted
    reruns/<cell id>.json     what `trilemma rerun` has found of the cell
    logs/<cell id>.log        the output of the process of the cell; timing-<cell id>.log, of the latest that timed it
    aside/<kind>-<id>-<n>/    damaged folders and files, which were computed again

Only JSON and safetensors are written and read; nothing is unpickled. Every JSON file holds its own checksum, and
record.json the checksums of the files beside it. They are checked when read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .aside import clear_leftovers, foreign, set_aside
from .claim import FOLDERS, MARKER, check_marker, claim_directory, exclusive
from .files import FORMAT, DamagedError, WriteError, flush, read_file, sealed, write_new
from .listing import LIST, read_run, write_list
from .records import RECORD, Examined, entry_of, examine

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Store:
    """A run directory. Reading never changes it. Folders that are incomplete, damaged or unreadable count as absent."""

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        # A link to a whole run directory is followed. A link that leads nowhere is kept, for the check to refuse it.
        self.path = path.resolve() if path.is_symlink() and path.exists() else path
        self.held = False
        """Whether this process has locked the directory for a run, and so may move what is damaged."""

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the directory for one run: create it, lock it, and remove temporary files of a killed run.

        At the end, the names of what was committed are flushed to disk. Only temporary names of trilemma are removed,
        and links are not followed. Raises StoreError if another run uses the directory, if it does not belong to
        trilemma, or if it cannot be written.
        """
        claim_directory(self.path)
        try:
            for name in FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"run directory {self.path} cannot be written: {error}; choose another with --out"
            ) from None
        with self.locked():
            clear_leftovers(self.path)
            try:
                yield
            finally:
                for name in FOLDERS:
                    with contextlib.suppress(OSError):
                        flush(self.path / name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory, and nothing else. Raises StoreError if another run uses it, or if it cannot be written.

        The lock ends with the process that holds it, so a lock file that a killed run left is harmless.
        """
        with exclusive(self.path / ".lock", "run"):
            self.held = True
            try:
                yield
            finally:
                self.held = False

    def commit(
        self, kind: str, id: str, record: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Write folder `kind/id` with `record.json` and `<name>.safetensors` files atomically; replaces an older one.

        See `replacing`. Raises WriteError, which is an OSError (full disk, read-only), with nothing changed.
        """
        with self.replacing(kind, id) as staging:
            files = {
                file.name: entry_of(file)
                for name, values in (tensors or {}).items()
                if (file := _saved(staging / f"{name}.safetensors", values))
            }
            about = {"format": FORMAT, "files": files, "written": datetime.now(UTC).isoformat()}
            write_new(staging / RECORD, sealed({**record, **about}))

    @contextlib.contextmanager
    def replacing(self, kind: str, id: str) -> Iterator[Path]:
        """An empty folder to be filled with files that are flushed. It becomes `kind/id`, and replaces an older one.

        The folder has a temporary name until it is whole. A kill at any moment leaves the old folder, the new folder or
        none, but never an incomplete one; the next run brings an old folder back that a kill has left under another
        name. An older folder that is damaged, or that holds files of somebody else, is set aside. A new name is not
        flushed, which takes as long as a small cell: after a power cut, the next run may have to compute the latest
        results again. Raises WriteError, which is an OSError (full disk, read-only), with nothing changed.
        """
        target = self.path / kind / id
        staging = self.path / "tmp" / f"{kind}-{id}-{os.getpid()}"
        old = staging.with_name(f"old-{staging.name}")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            yield staging
            self.keep_evidence(kind, id)
            replaces = os.path.lexists(target)
            if replaces:
                flush(staging)
                os.rename(target, old)
            try:
                os.rename(staging, target)
            except OSError:
                if replaces:
                    os.rename(old, target)
                raise
            if replaces:
                flush(target.parent)  # before the old one is deleted
        except WriteError:
            raise
        except OSError as error:
            raise WriteError(f"{target} could not be written: {error}") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def keep_evidence(self, kind: str, id: str) -> None:
        """Set a folder aside that is to be replaced, unless it is whole, or only lacks files."""
        target = self.path / kind / id
        found = self.examine(kind, id, full=True)
        if foreign(target) or (found.problem and any(os.path.lexists(target / name) for name in found.files or (".",))):
            set_aside(self.path, target, f"{kind}-{id}")

    def set_aside(self, kind: str, id: str, found: Examined) -> str:
        """Move what is damaged in a folder to `aside`, and return where it is then; empty if there was nothing to move.

        A record that is whole stays, because it says how to repeat the training. Raises WriteError.
        """
        folder, name = self.path / kind / id, f"{kind}-{id}"
        places = [folder / file for file in found.files] if found.record else [folder]
        moved = [set_aside(self.path, place, name) for place in places if os.path.lexists(place)]
        return ", ".join(str(target.relative_to(self.path)) for target in moved)

    def write_run(self, run: Mapping[str, Any], cells: Iterable[dict[str, Any]]) -> int:
        """Add a run and the cells that it selects to run.json. Returns how many runs it holds then.

        The cells of earlier runs stay, in their order. The key `run` of a cell and of an evaluation is the number of
        the latest run that selected it. Raises StoreError, and changes nothing, if run.json cannot be read or
        written.
        """
        before = read_run(self.path) or {"runs": [], "cells": []}
        number = len(before["runs"])
        # One at a time, because a run may select tens of thousands.
        chosen = (
            {**cell, "run": number, "evaluations": [{**planned, "run": number} for planned in cell["evaluations"]]}
            for cell in cells
        )
        write_list(self.path, [*before["runs"], dict(run)], chain(before["cells"], chosen))
        return number + 1

    # Reading

    @property
    def holds_run(self) -> bool:
        """Whether a run came so far that it wrote what it holds."""
        return (self.path / LIST).exists()

    def run(self) -> dict[str, Any]:
        """The content of run.json: `runs`, with the latest last, and `cells`.

        Raises StoreError if there is no run, or if run.json cannot be read.
        """
        if not self.path.is_dir():
            raise StoreError(f"there is no run directory {self.path}; `trilemma run --out {self.path}` makes one")
        check_marker(self.path, f"{self.path} holds no run (no {MARKER}); `trilemma run --out {self.path}` makes one")
        record = read_run(self.path)
        if record is None:
            raise StoreError(f"{self.path} holds no run (no {LIST}); `trilemma run --out {self.path}` makes one")
        return record

    def examine(self, kind: str, id: str, *, full: bool = False) -> Examined:
        """Check one folder: its record and the size of its files, and, with `full`, the checksums of its files."""
        return examine(self.path / kind / id, kind, full=full)

    def record(self, kind: str, id: str) -> dict[str, Any] | None:
        """The record of one folder; None if it is absent, or if the folder is damaged, incomplete or unreadable.

        The files of a dataset are checked in full: they are few, and nothing else would notice.
        """
        return self.examine(kind, id, full=kind == "data").whole

    def tensors(self, kind: str, id: str, name: str) -> dict[str, Tensor] | None:
        """The tensors of one safetensors file of a folder; None if it is absent, damaged or unreadable.

        The checksum of the bytes is checked before they are parsed.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = self._content(kind, id, name)
        try:
            return None if content is None else load(content)
        except SafetensorError:
            return None

    def _content(self, kind: str, id: str, name: str) -> bytes | None:
        """The bytes of one safetensors file of a folder; None if it is absent, damaged or unreadable."""
        file = self.path / kind / id / f"{name}.safetensors"
        record = self.examine(kind, id).record or {}
        try:
            content = read_file(file)
            if hashlib.sha256(content).hexdigest() == record["files"][file.name]["sha256"]:
                return content
        except (OSError, DamagedError, LookupError):
            pass
        return None

    def samples(self, evaluation: str) -> np.ndarray | None:
        """The stored samples of one evaluation in data space, `(n, *shape)`; None if there are none."""
        return self._array("evaluations", evaluation, "samples")

    def data(self, data_id: str) -> np.ndarray | None:
        """The stored test points of one dataset in data space, `(n, *shape)`; None if there are none."""
        return self._array("data", data_id, "test")

    def _array(self, kind: str, id: str, name: str) -> np.ndarray | None:
        """The array of that name in a file of a folder. It is read without torch, which takes a second to load."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = self._content(kind, id, name)
        try:
            return None if content is None else load(content)[name].copy()
        except SafetensorError:
            return None

    def log_tail(self, cell: str, lines: int = 20) -> str:
        """The last lines that the process of a cell printed."""
        try:
            with (self.path / "logs" / f"{cell}.log").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 16_384))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _saved(file: Path, values: Mapping[str, Tensor]) -> Path:
    """Write tensors to a safetensors file, flushed to disk, and return it. Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in values.items()}, file)
    except SafetensorError as error:
        raise WriteError(f"{file} could not be written: {error}") from None
    file.chmod(file.parent.stat().st_mode & 0o666)  # safetensors lets only the owner read
    flush(file)
    return file
