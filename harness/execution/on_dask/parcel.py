"""Parcels: folders of a run directory as bytes, for workers that do not see the directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ...store.claim import FOLDERS
from ...store.store import Store
from ...store.transfer import transfer_file

Parcel = dict[str, bytes]
"""The content of files by their paths in the run directory, such as `cells/ID/record.json` and `logs/ID.log`."""

PARTIAL = "partial"
MOST_PARTIAL = 64 * 2**20
"""Bytes of the largest state of a training that is sent. It passes through the memory of the scheduler."""

KINDS = ("cells", "evaluations")
SEEN_SECONDS = 60.0  # until a record of another machine is seen here, with the caches of common file systems


def pack(root: Path, folders: Iterable[tuple[str, str]], logs: Iterable[str] = ()) -> Parcel:
    """The files of the folders (kind, id) that exist in a run directory, and logs."""
    files = [file for kind, id in folders for file in sorted((root / kind / id).glob("[!.]*")) if file.is_file()]
    files += [file for name in logs if (file := root / "logs" / name).is_file()]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def pack_partial(root: Path, cell: str) -> Parcel:
    """The state of the training of a cell that was interrupted, if there is one.

    Raises StoreError if it is larger than MOST_PARTIAL.
    """
    file = root / PARTIAL / f"{cell}.safetensors"
    if file.is_symlink() or not file.is_file():
        return {}
    if (size := file.stat().st_size) > MOST_PARTIAL:
        raise StoreError(
            f"its checkpoint of {size / 2**20:.0f} MiB is not sent, because it has more than {MOST_PARTIAL >> 20} MiB"
        )
    return {str(file.relative_to(root)): file.read_bytes()}


def unpack(parcel: Parcel, root: Path) -> None:
    """Write the files of a parcel into a directory, which then has the folders of a run directory."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for path, content in parcel.items():
        file = root / _checked(path)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)


def deliver(parcel: Parcel, store: Store) -> None:
    """Commit the folders of a parcel to a store, and copy the logs and states of trainings.

    The parcel is unpacked beside the store and read as a store, so what it holds is checked as any record is. A state
    has a checksum of its own, which is checked when a training goes on from it. Raises StoreError, before anything is
    committed, if a folder is damaged, and OSError if the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="trilemma-parcel-") as folder:
        sent = Store(folder)
        unpack(parcel, sent.path)
        found = []
        for kind in KINDS:
            for place in sorted((sent.path / kind).iterdir()):
                record = sent.record(kind, place.name)
                tensors = {file.stem: sent.tensors(kind, place.name, file.stem) for file in place.glob("*.safetensors")}
                whole = {name: values for name, values in tensors.items() if values is not None}
                if record is None or len(whole) < len(tensors):
                    raise StoreError(f"{kind}/{place.name} arrived damaged")
                found.append((kind, place.name, record, whole))
        for log in (sent.path / "logs").iterdir():
            target = store.path / "logs" / log.name
            if target.is_symlink():
                target.unlink()
            target.write_bytes(log.read_bytes())
        for kind, id, record, tensors_of in found:
            store.commit(kind, id, record, tensors_of)
            if kind == "cells":
                (store.path / PARTIAL / f"{id}.safetensors").unlink(missing_ok=True)
        for state in (sent.path / PARTIAL).iterdir():
            with contextlib.suppress(OSError):  # a full disk costs the state and not the cell
                transfer_file(state, store.path / PARTIAL / state.name)


def await_records(store: Store, cell: str, events: Iterable[dict[str, Any]]) -> None:
    """Wait until the records that a worker has written are seen here. Network file systems show them late."""
    written = {("cells", cell) if event["committed"] == "cell" else ("evaluations", event["id"])
               for event in events if "committed" in event}  # fmt: skip
    deadline = time.monotonic() + SEEN_SECONDS
    for kind, id in sorted(written):
        while store.record(kind, id) is None and time.monotonic() < deadline:
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                os.listdir(store.path / kind)  # makes the file system look again


def _checked(path: str) -> Path:
    """A path in a run directory that a parcel may hold. Raises StoreError for another."""
    parts = Path(path).parts
    folder, file = len(parts) == 3 and parts[0] in KINDS, len(parts) == 2 and parts[0] in ("logs", PARTIAL)
    if not (folder or file) or ".." in parts:
        raise StoreError(f"a worker sent the file '{path}', which does not belong to a cell")
    return Path(path)
