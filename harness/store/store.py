"""The run directory: one folder per trained cell and per evaluation, each written completely or not at all.

    trilemma.json             the marker, which says that the directory belongs to trilemma
    run.json                  every run into this directory (suite, environment), and all planned cells
    cells/<id>/               record.json (outcome, training, curves), model.safetensors
    evaluations/<id>/         record.json (results), samples.safetensors
    data/<id>/                record.json (card), test.safetensors
    logs/<cell id>.log        the output of the process of the cell

Only JSON and safetensors are written and read; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FORMAT = 2
MARKER = "trilemma.json"
_FOLDERS = ("cells", "evaluations", "data", "logs", "tmp")
_OWN_TEMPORARY = re.compile(r"job-[0-9a-f]{20}|(old-)?(cells|evaluations|data)-[\w-]+-\d+")


def claim_directory(path: Path) -> None:
    """Make `path` a run directory. It must not exist, or be empty, or already have the marker of trilemma.

    So trilemma never changes files that it did not write. Raises StoreError for any other directory, before anything is
    written.
    """
    check_claim(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / MARKER).exists():
            write_json(path / MARKER, {"format": FORMAT, "about": "this directory is written by trilemma"})
    except OSError as error:
        raise StoreError(f"directory {path} cannot be written: {error}; choose another with --out") from None


def check_claim(path: Path) -> None:
    """Check without writing that `claim_directory` would succeed. Raises StoreError if it would not."""
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
    except OSError as error:
        raise StoreError(f"directory {path} cannot be read: {error}; choose another with --out") from None
    if not path.is_dir():
        raise StoreError(f"{path} is a file, not a directory; choose another with --out")
    _check_marker(
        path,
        f"directory {path} is not empty and was not made by trilemma (it holds no {MARKER}); "
        "nothing in it was changed; choose another with --out",
    )


def _check_marker(path: Path, otherwise: str) -> None:
    marker = path / MARKER
    record = None if marker.is_symlink() else _read_json(marker)
    if record is not None and record.get("format") == FORMAT:
        return
    if record is not None:
        found = record.get("format")
        raise StoreError(
            f"{path} has the format {found}, but this version of trilemma reads and writes format {FORMAT}; "
            "choose another directory"
        )
    if "cells" in (_read_json(path / "run.json") or {}):
        raise StoreError(
            f"{path} was written by trilemma 0.1, whose run directories have no marker ({MARKER}) and identify cells "
            "in another way, so this version neither reads nor changes it; choose another with --out"
        )
    raise StoreError(otherwise)


class Store:
    """A run directory. Reading never changes it. Folders that are incomplete or unreadable count as absent."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the directory for one run: create it, lock it, and remove temporary files of a killed run.

        Only temporary names of trilemma are removed, and links are not followed. Raises StoreError if another run uses
        the directory, if it does not belong to trilemma, or if it cannot be written.
        """
        claim_directory(self.path)
        try:
            for name in _FOLDERS:
                if (self.path / name).is_symlink():
                    raise StoreError(f"{self.path / name} is a link, which trilemma does not follow; remove it")
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
                _flush(file)
            _flush(staging)
            if target.exists():
                os.rename(target, staging.with_name(f"old-{staging.name}"))
            os.rename(staging, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(staging.with_name(f"old-{staging.name}"), ignore_errors=True)

    def write_run(self, run: Mapping[str, Any], cells: list[dict[str, Any]]) -> None:
        """Add a run and the cells that it selects to run.json.

        The cells of earlier runs stay, in their order. The key `run` of a cell and of an evaluation is the number of
        the latest run that selected it.
        """
        before = self._run_record() or {"runs": [], "cells": []}
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
        """The content of run.json: `runs`, with the latest last, and `cells`. Raises StoreError if there is no run."""
        if not self.path.is_dir():
            raise StoreError(f"there is no run directory {self.path}; `trilemma run --out {self.path}` makes one")
        _check_marker(self.path, f"{self.path} holds no run (no {MARKER}); `trilemma run --out {self.path}` makes one")
        record = self._run_record()
        if record is None:
            raise StoreError(
                f"{self.path} holds no run (no readable run.json); `trilemma run --out {self.path}` makes one"
            )
        return record

    def _run_record(self) -> dict[str, Any] | None:
        record = _read_json(self.path / "run.json")
        return record if record is not None and record.get("format") == FORMAT else None

    def record(self, kind: str, id: str) -> dict[str, Any] | None:
        """The record of one folder; None if it is absent or unreadable."""
        return _read_json(self.path / kind / id / "record.json")

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


def write_json(file: Path, record: Any) -> None:
    """Write a JSON file atomically: under a temporary name, then flushed and renamed."""
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with staging.open("w", encoding="utf-8") as stream:
            json.dump(record, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
