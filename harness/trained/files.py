"""The files of samples and points: what `trilemma sample` writes, and what `trilemma score-points` reads.

Nothing is pickled. A file is written under a temporary name and renamed when it is complete, so an interruption leaves
neither a part of a file nor a changed one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, TrilemmaError, did_you_mean
from ..text import printable, spreadsheet_cell
from .pictures import MOST_IMAGES, image_grid, plotted
from .tables import read_csv

Array = NDArray[Any]
SAMPLE_FILES = (".npz", ".csv", ".png")
VALUE_FILES = (".npz", ".csv")
POINT_FILES = (".npz", ".npy", ".csv")
_NAMES = ("samples", "points", "x")  # of the array of points in a .npz file


def check_target(file: Path, kinds: tuple[str, ...], force: bool) -> None:
    """Raise TrilemmaError if a file of this name cannot be written, before anything is computed for it."""
    if file.suffix.lower() not in kinds:
        raise TrilemmaError(f"{file}: the name must end in {', '.join(kinds)}")
    if file.is_dir():
        raise TrilemmaError(f"{file} is a folder; give the name of a file")
    if not file.parent.is_dir():
        raise TrilemmaError(f"there is no folder {file.parent}; make it first")
    if os.path.lexists(file) and not force:
        raise _exists(file)


def write_samples(
    file: Path,
    n: int,
    shape: tuple[int, ...],
    levels: int | None,
    batches: Iterable[Array],
    about: Mapping[str, Any],
    coordinates: Sequence[str] = (),
) -> Callable[[BinaryIO], int]:
    """A function that writes `n` samples, which come in `batches`, and returns how many the file shows.

    `coordinates` are the names of the columns of a CSV file; by default x0, x1 and so on.

    Raises TrilemmaError for a picture of points in more than two dimensions.
    """
    kind = file.suffix.lower()
    if kind == ".npz":
        dtype = np.dtype(np.float64 if levels is None else np.uint8)
        return lambda stream: _write_npz(stream, "samples", (n, *shape), dtype, batches, about)
    if kind == ".csv":
        header = list(coordinates) or [f"x{number}" for number in range(math.prod(shape))]
        return lambda stream: _write_csv(stream, header, batches)
    if levels is None and math.prod(shape) > 2:
        raise TrilemmaError(f"{file}: a picture shows images, or points in one or two dimensions; write .npz or .csv")
    if levels is None:
        return lambda stream: plotted(stream, batches, str(about.get("label", "")))
    return lambda stream: image_grid(stream, batches, min(n, MOST_IMAGES), levels)


def write_values(file: Path, values: Array, about: Mapping[str, Any]) -> Callable[[BinaryIO], int]:
    """A function that writes log-densities, one for each point, and returns how many."""
    if file.suffix.lower() == ".npz":
        return lambda stream: _write_npz(stream, "log_prob", values.shape, values.dtype, [values], about)
    return lambda stream: _write_csv(stream, ["log_prob"], [values])


def write(file: Path, content: Callable[[BinaryIO], int], force: bool) -> int:
    """Write a file as a whole or not at all. Without `force`, an existing file is never replaced.

    Raises TrilemmaError (it exists, the disk is full).
    """
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            with staging.open("xb") as stream:
                shown = content(stream)
                stream.flush()
                os.fsync(stream.fileno())
            _publish(staging, file, force)
        finally:
            staging.unlink(missing_ok=True)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise TrilemmaError(f"{file} could not be written: {error.strerror or error}") from None
    return shown


def _publish(staging: Path, file: Path, force: bool) -> None:
    """Give a complete file its name. A link fails if the name is taken, which a rename does not."""
    if not force:
        try:
            os.link(staging, file)
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(file):
                raise FileExistsError(file) from None
    os.replace(staging, file)


def _exists(file: Path) -> TrilemmaError:
    return TrilemmaError(f"{file} exists; choose another name, or replace it with --force")


def _write_npz(
    stream: BinaryIO,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    batches: Iterable[Array],
    about: Mapping[str, Any],
) -> int:
    """An array that comes in batches, and `about` as JSON text. The file holds no time, so it is reproducible."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(stream, "w") as archive:
        with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for batch in batches:
                member.write(np.ascontiguousarray(batch, dtype=dtype).tobytes())
        with archive.open(zipfile.ZipInfo("about.npy"), "w") as member:
            np.lib.format.write_array(member, np.array(json.dumps(about)), allow_pickle=False)
    return shape[0]


def _write_csv(stream: BinaryIO, header: list[str], batches: Iterable[Array]) -> int:
    """Rows with the shortest decimals that are read back as the same numbers."""
    names = io.StringIO(newline="")
    csv.writer(names, lineterminator="\n").writerow([spreadsheet_cell(printable(name)) for name in header])
    stream.write(names.getvalue().encode())
    rows = 0
    for batch in batches:
        lines = (",".join(map(repr, row)) for row in batch.reshape(len(batch), -1).tolist())
        stream.write(("\n".join(lines) + "\n").encode())
        rows += len(batch)
    return rows


def read_points(file: Path) -> Array:
    """The array of points in a `.npz`, `.npy` or `.csv` file. Raises DataError."""
    kind = file.suffix.lower()
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    if kind not in POINT_FILES:
        raise DataError(f"{file}: points are read from {', '.join(POINT_FILES)}")
    if kind == ".csv":
        return read_csv(file)
    with _reading(file):
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded[_name_of_points(file, loaded.files)])


def _name_of_points(file: Path, names: list[str]) -> str:
    given = [name for name in names if name != "about"]
    found = next((name for name in _NAMES if name in given), given[0] if len(given) == 1 else None)
    if found is None:
        hint = did_you_mean("", given)
        raise DataError(f"{file} has no array named {', '.join(_NAMES[:-1])} or {_NAMES[-1]} ({hint})")
    return found


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{file} cannot be read as arrays of numbers: {error}") from None
