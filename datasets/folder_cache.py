"""A folder of images is decoded once, because each cell of a run loads it again: the array is kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import platformdirs

from trilemma import DataError

from . import folder as decoding
from .bounded import load_npz
from .folder import Images, read_folder

KEPT = 10  # arrays


def read_once(folder: Path, size: int, stamp: str) -> Images:
    """The images of a folder, as `read_folder` gives them. `stamp` changes when the files change."""
    about = (str(folder), size, stamp, Path(decoding.__file__).read_text(encoding="utf-8"))
    name = hashlib.sha256(repr(about).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    file = platformdirs.user_cache_path("trilemma") / "images" / f"{name}.npz"
    if file.is_file():
        with contextlib.suppress(DataError):  # a damaged file is made again
            return Images(load_npz(file, "values"), tuple(map(str, load_npz(file, "remarks"))))
    images = read_folder(folder, size)
    with contextlib.suppress(OSError):
        _keep(file, images)
    return images


def _keep(file: Path, images: Images) -> None:
    """Write the array whole or not at all, and remove the oldest ones."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with staging.open("wb") as stream:
            np.savez(stream, values=images.values, remarks=np.array(images.remarks, dtype=np.str_))
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)
    by_age = sorted(file.parent.glob("*.npz"), key=lambda other: other.stat().st_mtime)
    for old in by_age[:-KEPT]:
        old.unlink(missing_ok=True)
