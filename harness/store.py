"""The run directory: one folder per trained cell and per evaluation, each written whole or not at all.

    run.json                  the suite, the plan and the environment of the latest run
    cells/<id>/               record.json (outcome, training, curves), model.safetensors
    evaluations/<id>/         record.json (results), samples.safetensors
    data/<id>/                record.json (card), test.safetensors
    logs/<cell id>.log        what the cell's process printed

Only JSON and safetensors are written and read; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trilemma.harness.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FORMAT = 1


class Store:
    """A run directory. Reading never changes it; half-written or unreadable folders count as absent."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the directory for one run: makes it, refuses a second run, removes what a killed one left.

        Raises StoreError where the directory is in use or cannot be written.
        """
        try:
            for name in ("cells", "evaluations", "data", "logs", "tmp"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a")
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
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    def commit(
        self, kind: str, id: str, record: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Write folder `kind/id` with `record.json` and `<name>.safetensors` files, atomically; replaces an older one.

        Written to a temporary sibling, flushed to disk and renamed, so that a kill at any moment leaves the old folder,
        the new one, or none, and never half of one. Raises OSError (full disk) with nothing changed.
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

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Replace run.json."""
        write_json(self.path / "run.json", {"format": FORMAT, **record})

    # Reading

    def run(self) -> dict[str, Any]:
        """run.json. Raises StoreError where the directory holds no run."""
        if not self.path.is_dir():
            raise StoreError(f"there is no run directory {self.path}")
        record = _read_json(self.path / "run.json")
        if record is None:
            raise StoreError(
                f"{self.path} holds no run (no readable run.json); `trilemma run --out {self.path}` makes one"
            )
        return record

    def record(self, kind: str, id: str) -> dict[str, Any] | None:
        """The record of one folder; None where it is absent or unreadable."""
        return _read_json(self.path / kind / id / "record.json")

    def tensors(self, kind: str, id: str, name: str) -> dict[str, Tensor] | None:
        """The tensors of one safetensors file of a folder; None where it is absent or unreadable."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path / kind / id / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError):
            return None

    def samples(self, evaluation: str) -> np.ndarray | None:
        """Stored draws of one evaluation in data space, `(n, *shape)`."""
        tensors = self.tensors("evaluations", evaluation, "samples")
        return None if tensors is None else tensors["samples"].numpy()

    def data(self, data_id: str) -> np.ndarray | None:
        """Stored test points of one dataset in data space, `(n, *shape)`."""
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
    """Write a JSON file whole: temporary sibling, flush, rename."""
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
