"""Files of a run directory: JSON that is written completely or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


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


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is absent, unreadable or holds something else."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
