"""What `trilemma rerun` has found: `reruns/<cell id>.json` says whether a repetition of the cell was bit-identical."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .aside import children, is_folder
from .claim import RERUNS
from .files import FORMAT, DamagedError, WriteError, read_sealed, write_sealed
from .store import Store


def write_rerun(store: Store, cell: str, training: str, found: Mapping[str, Any]) -> None:
    """Keep what the latest repetition of a cell has found, in place of an older one.

    `training` is what the record of the stored training says under `written`: the repetition says nothing about
    another one. Raises StoreError if a run is using the directory, WriteError if it cannot be written.
    """
    folder = store.path / RERUNS
    with store.locked():
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise WriteError(f"{folder} could not be made: {error}") from None
        if not is_folder(folder):
            raise WriteError(f"{folder} is a link, which trilemma does not follow; remove it")
        about = {"format": FORMAT, "cell": cell, "training": training, "time": datetime.now(UTC).isoformat()}
        write_sealed(folder / f"{cell}.json", {**found, **about})


def reruns(store: Store) -> dict[str, dict[str, Any]]:
    """What the latest repetition of each cell has found, by the ids of the cells.

    Left out are records that are damaged, or that are of a training in whose place another one is stored now.
    """
    found = {}
    for file in children(store.path / RERUNS):
        try:
            record = read_sealed(file)
        except (FileNotFoundError, DamagedError):
            continue
        training = (store.record("cells", file.stem) or {}).get("written")
        if file.suffix == ".json" and training is not None and record.get("training") == training:
            found[file.stem] = record
    return found
