"""Reading and checking arrays in files. A DataError says what is wrong with a file, and where."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError

from .idx import read_idx

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


def find_file(path: str) -> Path:
    """The file or folder at `path`, with `~` expanded. Raises DataError if it does not exist."""
    if not path:
        raise DataError("no file given: set the dataset's option 'path'")
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"{found.absolute()}: no such file or folder")
    return found


def read_array(path: Path, key: str = "") -> Array:
    """The array in a `.npy`, `.npz`, `.csv`, `.parquet` or idx file (also gzipped). The format follows the ending.

    `key` names one array of several in a `.npz` file. Raises DataError.
    """
    name = path.name.removesuffix(".gz")
    for ending, reader in _READERS.items():
        if name.endswith(ending):
            return reader(path, key)
    raise DataError(f"{path}: unknown kind of file; known are {', '.join(_READERS)}")


def _npy(path: Path, key: str) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a plain array in NumPy's format ({error})") from error


def _npz(path: Path, key: str) -> Array:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            if not key and len(names) != 1:
                raise DataError(f"{path} holds several arrays ({', '.join(names)}): name one by the option 'key'")
            if key and key not in names:
                raise DataError(f"{path} holds no array '{key}'; it holds {', '.join(names)}")
            return np.asarray(archive[key or names[0]])
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an archive of plain arrays in NumPy's format ({error})") from error


def _csv(path: Path, key: str) -> Array:
    import pandas as pd

    try:
        first = pd.read_csv(path, header=None, nrows=1)
        header = None if first.map(_is_number).all(axis=None) else 0
        frame = pd.read_csv(path, header=header)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable CSV file ({error})") from error
    return _numeric(frame, path)


def _parquet(path: Path, key: str) -> Array:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install 'trilemma[data]'") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable parquet file ({error})") from error
    return _numeric(frame, path)


def _idx(path: Path, key: str) -> Array:
    return read_idx(path)


_READERS: dict[str, Callable[[Path, str], Array]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    "ubyte": _idx,
    ".idx": _idx,
}


def _is_number(cell: object) -> bool:
    """Whether a cell of the first row is data and not a header. An empty cell counts as data."""
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _numeric(frame: pd.DataFrame, path: Path) -> Array:
    """The frame as a float64 array. Raises DataError for columns that are not numeric."""
    from pandas.api.types import is_numeric_dtype

    words = [str(column) for column in frame if not is_numeric_dtype(frame[column])]
    if words:
        raise DataError(f"{path}: columns {', '.join(words[:5])} are not numeric: drop or encode them")
    return frame.to_numpy(dtype=np.float64)


def check_table(array: Array, place: str, least: int) -> NDArray[np.float32]:
    """The rows (n, d) as float32. Raises DataError for a wrong shape or type, NaN, constant columns or too few rows."""
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{place}: shape {array.shape}, but a table of shape (rows, columns) is needed")
    if array.dtype.kind not in "fiub":
        raise DataError(f"{place}: values of type {array.dtype}, but numbers are needed")
    if len(array) < least:
        raise DataError(f"{place}: too few rows: {len(array)}; at least {least} are needed")
    finite = np.isfinite(array)
    if not finite.all():
        rows = np.flatnonzero(~finite.all(1))
        columns = np.flatnonzero(~finite.all(0))
        raise DataError(
            f"{place}: NaN or infinite values in {len(rows)} rows, first in rows {rows[:5].tolist()} "
            f"(counted from 0), in columns {columns[:5].tolist()}: drop or fill them"
        )
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{place}: values beyond the range of 32-bit floats: rescale them")
    constant = np.flatnonzero((values == values[0]).all(0))
    if len(constant):
        raise DataError(f"{place}: columns {constant[:5].tolist()} are constant (in 32-bit floats): drop them")
    return values


def check_images(array: Array, place: str, least: int) -> NDArray[np.uint8]:
    """Images (n, channels, height, width), uint8. Raises DataError for a wrong shape or type, and too few images."""
    if array.dtype.kind not in "iu" or array.min(initial=0) < 0 or array.max(initial=0) > 255:
        raise DataError(f"{place}: images must hold whole numbers 0 to 255, not {array.dtype} values")
    if array.ndim == 3:
        array = np.expand_dims(array, 1)
    elif array.ndim == 4 and array.shape[-1] in (1, 3, 4) and array.shape[1] not in (1, 3, 4):
        array = np.moveaxis(array, -1, 1)
    if array.ndim != 4:
        raise DataError(
            f"{place}: shape {array.shape}, but (n, height, width) or (n, channels, height, width) is needed"
        )
    if len(array) < least:
        raise DataError(f"{place}: too few images: {len(array)}; at least {least} are needed")
    return np.ascontiguousarray(array, dtype=np.uint8)


def read_folder(folder: Path) -> Array:
    """All images under a folder, in the order of their paths, (n, height, width) or (n, height, width, channels)."""
    from PIL import Image, UnidentifiedImageError

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not paths:
        raise DataError(f"{folder}: no images ({', '.join(sorted(_IMAGES))}) in this folder")
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")))
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{path}: not a readable image ({error})") from error
        if images[-1].shape != images[0].shape:
            raise DataError(f"{path}: shape {images[-1].shape}, but {paths[0]} has {images[0].shape}: make them equal")
    return np.stack(images)


_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
