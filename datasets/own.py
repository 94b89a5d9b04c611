"""The dataset for a file or folder that the user names: a table or images, by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trilemma import DataError

from .bounded import check_file, npy_shape, npz_shape
from .folder import ENDINGS, image_files
from .idx import idx_shape
from .tables import FORMATS, format_of

_SHAPES: dict[str, Callable[[Path], tuple[int, ...] | None]] = {
    ".npy": npy_shape,
    ".npz": npz_shape,
    ".idx": idx_shape,
}


def entry(path: Path) -> dict[str, Any] | None:
    """The entry of a suite for a file or folder; None if it is of no known kind.

    Raises DataError for a file that is empty or damaged, and for a folder without images.
    """
    if path.is_dir():
        if not image_files(path):
            raise DataError(f"{path}: no images ({', '.join(ENDINGS)}) in this folder; for a table, name its file")
        return _entry("image-file", path, path.name)
    check_file(path)
    if path.suffix.lower() in ENDINGS:
        raise DataError(f"{path}: one image is no dataset; name the folder of the images")
    found = format_of(path)
    if found is None:
        return None
    shape = _SHAPES[found](path) if found in _SHAPES else None
    label = path.name.removesuffix(".gz")
    ending = next((ending for ending in (*FORMATS, "-ubyte") if label.lower().endswith(ending)), "")
    label = label[: len(label) - len(ending)].rstrip("-_.")
    return _entry("image-file" if shape is not None and len(shape) > 2 else "file", path, label or path.name)


def _entry(name: str, path: Path, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "config": {"path": str(path)}}
