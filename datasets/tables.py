"""Reading and checking arrays in files. A DataError says what is wrong with a file, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError

from .bounded import MOST_BYTES, check_file, load_npy, load_npz
from .csv_files import read_csv
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


def format_of(path: Path) -> str | None:
    """The format of a file by its ending, as one of `FORMATS`, or else by its content; None for an unknown one."""
    name = path.name.lower().removesuffix(".gz")
    for ending, found in FORMATS.items():
        if name.endswith(ending):
            return found
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"\x93NUMPY"):
        return ".npy"
    is_text = b"\0" not in start or start.startswith((b"\xff\xfe", b"\xfe\xff"))
    return ".csv" if is_text and not start.startswith(_BINARY) and "." not in name else None


def read_array(path: Path, key: str = "") -> Array:
    """The array in a `.npy`, `.npz`, CSV, `.parquet` or idx file (also gzipped).

    `key` names one array of several in a `.npz` file. Raises DataError.
    """
    found = _format(path)
    return _ARRAYS[found](path, key) if found in _ARRAYS else _FRAMES[found](path, None).to_numpy()


def read_frame(path: Path, key: str = "", header: bool | None = None) -> pd.DataFrame:
    """The table in a file, as in `read_array`, with the names of its columns. Columns without a name have a number.

    With `header` None, the cells of a CSV file say whether it has a header. Raises DataError.
    """
    import pandas as pd

    found = _format(path)
    if found in _FRAMES:
        return _FRAMES[found](path, header)
    array = _ARRAYS[found](path, key)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{path}: shape {array.shape}, but a table of shape (rows, columns) is needed")
    if array.dtype.kind not in "fiub":
        raise DataError(f"{path}: values of type {array.dtype}, but numbers are needed")
    return pd.DataFrame(array, columns=[str(number) for number in range(array.shape[1])])


def _format(path: Path) -> str:
    check_file(path)
    found = format_of(path)
    if found is None:
        raise DataError(f"{path}: unknown kind of file; known are {', '.join(FORMATS)}")
    return found


def _parquet(path: Path, header: bool | None) -> pd.DataFrame:
    import pandas as pd

    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install 'trilemma[data]'") from error
    try:
        about = parquet.ParquetFile(path).metadata
        if about.num_rows * about.num_columns * 8 > MOST_BYTES:
            raise DataError(f"{path}: {about.num_rows:,} rows of {about.num_columns:,} columns are too many")
        return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    except (OSError, ValueError, ArrowException) as error:
        raise DataError(f"{path}: not a readable parquet file ({error})") from error


FORMATS = {
    ".npy": ".npy",
    ".npz": ".npz",
    ".csv": ".csv",
    ".tsv": ".csv",
    ".txt": ".csv",
    ".dat": ".csv",
    ".data": ".csv",
    ".parquet": ".parquet",
    "ubyte": ".idx",
    ".idx": ".idx",
}
"""The endings of files that are read, with their formats."""

_ARRAYS: dict[str, Callable[[Path, str], Array]] = {
    ".npy": lambda path, key: load_npy(path),
    ".npz": load_npz,
    ".idx": lambda path, key: read_idx(path),
}
_FRAMES: dict[str, Callable[[Path, bool | None], pd.DataFrame]] = {".csv": read_csv, ".parquet": _parquet}
_BINARY = (b"PK\x03\x04", b"\x1f\x8b", b"%PDF", b"\x89PNG")


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
