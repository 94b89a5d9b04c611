"""The run directory: one folder per trained cell and per evaluation, each written completely or not at all.

    trilemma.json             the marker, which says that the directory belongs to trilemma
    run.json                  every run into this directory (suite, environment), and all planned cells
    cells/<id>/               record.json (outcome, training, curves), model.safetensors
    evaluations/<id>/         record.json (results), samples.safetensors
    data/<id>/                record.json (card), test.safetensors
    partial/<id>.safetensors  the state of a training that was interrupted
    logs/<cell id>.log        the output of the process of the cell; timing-<cell id>.log, of the latest that timed it

Only JSON and safetensors are written and read; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .claim import FOLDERS, MARKER, check_marker, claim_directory
from .files import flush, read_json, write_json
from .records import FORMAT, is_complete, read_run

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_OWN_TEMPORARY = re.compile(r"job-(timing-)?[0-9a-f]{20}|(old-)?(cells|evaluations|data)-[\w-]+-\d+")


class Store:
    """A run directory. Reading never changes it. Folders that are incomplete or unreadable count as absent."""

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        # A link to a whole run directory is followed. A link that leads nowhere is kept, for the check to refuse it.
        self.path = path.resolve() if path.is_symlink() and path.exists() else path

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the directory for one run: create it, lock it, and remove temporary files of a killed run.

        Only temporary names of trilemma are removed, and links are not followed. Raises StoreError if another run uses
        the directory, if it does not belong to trilemma, or if it cannot be written.
        """
        claim_directory(self.path)
        try:
            for name in FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            lock = os.fdopen(os.open(self.path / ".lock", flags, 0o644), "a")
        except OSError as error:
            raise StoreError(
                f"run directory {self.path} cannot be written: {error}; choose another with --out"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"another run is using {self.path}; wait for it, or choose another directory with --out"
                ) from None
            for leftover in (self.path / "tmp").iterdir():
                if _OWN_TEMPORARY.fullmatch(leftover.name) and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)
            yield

    def commit(
        self, kind: str, id: str, record: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Write folder `kind/id` with `record.json` and `<name>.safetensors` files atomically; replaces an older one.

        The folder is written under a temporary name, flushed to disk and renamed. A kill at any moment leaves the old
        folder, the new folder or none, but never an incomplete one. Raises OSError (full disk) with nothing changed.
        """
        from safetensors.torch import save_file

        target = self.path / kind / id
        staging = self.path / "tmp" / f"{kind}-{id}-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            write_json(staging / "record.json", {"format": FORMAT, **record})
            for name, values in (tensors or {}).items():
                file = staging / f"{name}.safetensors"
                save_file({key: value.detach().cpu().contiguous().clone() for key, value in values.items()}, file)
                flush(file)
            flush(staging)
            if target.exists():
                os.rename(target, staging.with_name(f"old-{staging.name}"))
            os.rename(staging, target)
            flush(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(staging.with_name(f"old-{staging.name}"), ignore_errors=True)

    def write_run(self, run: Mapping[str, Any], cells: list[dict[str, Any]]) -> None:
        """Add a run and the cells that it selects to run.json.

        The cells of earlier runs stay, in their order. The key `run` of a cell and of an evaluation is the number of
        the latest run that selected it. Raises StoreError, and changes nothing, if run.json cannot be read.
        """
        before = read_run(self.path) or {"runs": [], "cells": []}
        number = len(before["runs"])
        known: dict[str, dict[str, Any]] = {cell["id"]: cell for cell in before["cells"]}
        for cell in cells:
            chosen = {planned["id"]: {**planned, "run": number} for planned in cell["evaluations"]}
            earlier = {planned["id"]: planned for planned in known.get(cell["id"], {}).get("evaluations", ())}
            known[cell["id"]] = {**cell, "run": number, "evaluations": list({**earlier, **chosen}.values())}
        write_json(
            self.path / "run.json", {"format": FORMAT, "runs": [*before["runs"], dict(run)], "cells": [*known.values()]}
        )

    # Reading

    def run(self) -> dict[str, Any]:
        """The content of run.json: `runs`, with the latest last, and `cells`.

        Raises StoreError if there is no run, or if run.json cannot be read.
        """
        if not self.path.is_dir():
            raise StoreError(f"there is no run directory {self.path}; `trilemma run --out {self.path}` makes one")
        check_marker(self.path, f"{self.path} holds no run (no {MARKER}); `trilemma run --out {self.path}` makes one")
        record = read_run(self.path)
        if record is None:
            raise StoreError(f"{self.path} holds no run (no run.json); `trilemma run --out {self.path}` makes one")
        return record

    def record(self, kind: str, id: str) -> dict[str, Any] | None:
        """The record of one folder; None if it is absent, unreadable or incomplete."""
        record = read_json(self.path / kind / id / "record.json")
        return record if record is not None and is_complete(kind, record) else None

    def tensors(self, kind: str, id: str, name: str) -> dict[str, Tensor] | None:
        """The tensors of one safetensors file of a folder; None if it is absent or unreadable."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path / kind / id / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError):
            return None

    def samples(self, evaluation: str) -> np.ndarray | None:
        """The stored samples of one evaluation in data space, `(n, *shape)`; None if there are none."""
        tensors = self.tensors("evaluations", evaluation, "samples")
        return None if tensors is None else tensors["samples"].numpy()

    def data(self, data_id: str) -> np.ndarray | None:
        """The stored test points of one dataset in data space, `(n, *shape)`; None if there are none."""
        tensors = self.tensors("data", data_id, "test")
        return None if tensors is None else tensors["test"].numpy()

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
