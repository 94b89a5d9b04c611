"""Reading files that may come from anyone: regular files only, no pickle, and nothing that unpacks without end."""

from __future__ import annotations

import gzip
import math
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError

MOST_BYTES = 2**31
"""The most bytes that a file may have, or unpack to."""

Array = NDArray[Any]
_PICKLED = "it holds Python objects, which are never loaded; store numbers alone"


def check_file(path: Path) -> None:
    """Raise DataError unless `path` is a regular file with at least one byte, and not too large."""
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be read ({error})") from None
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{path}: no regular file, but a pipe or a device: store the data in a file")
    if not about.st_size:
        raise DataError(f"{path}: the file is empty")
    if about.st_size > MOST_BYTES:
        raise DataError(f"{path}: {_giga(about.st_size)}, and at most {_giga(MOST_BYTES)} are read: take a sample")


def read_content(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped. Raises DataError."""
    check_file(path)
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.read_bytes()
    try:
        with gzip.open(path) as unpacked:
            found = unpacked.read(MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error}): fetch it again") from error
    if len(found) > MOST_BYTES:
        raise DataError(f"{path}: it unpacks to more than {_giga(MOST_BYTES)}, which are the most that are read")
    return found


def load_npy(path: Path) -> Array:
    """The array in a `.npy` file. Raises DataError."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a plain array in NumPy's format ({error})") from error


def load_npz(path: Path, key: str) -> Array:
    """The array named `key` in a `.npz` file, or its only one. Raises DataError."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            info = _member(archive, path, key)
            if info.file_size > MOST_BYTES:
                size = _giga(info.file_size)
                raise DataError(f"{path}: it unpacks to {size}, and at most {_giga(MOST_BYTES)} are read")
            with archive.open(info) as stream:
                return _array(stream, info.file_size)
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an archive of plain arrays in NumPy's format ({error})") from error


def npy_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in a `.npy` file, from its header alone. Raises DataError."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return _header(file)[0]
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a plain array in NumPy's format ({error})") from error


def npz_shape(path: Path) -> tuple[int, ...] | None:
    """The shape of the only array in a `.npz` file; None if it holds several. Raises DataError."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            if len(members) != 1:
                return None
            with archive.open(next(iter(members.values()))) as stream:
                return _header(stream)[0]
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an archive of plain arrays in NumPy's format ({error})") from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name, without what `trilemma sample` says about its samples."""
    found = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if not info.is_dir()}
    return {name: info for name, info in found.items() if name != "about"} or found


def _member(archive: zipfile.ZipFile, path: Path, key: str) -> zipfile.ZipInfo:
    members = _members(archive)
    if not key and len(members) != 1:
        raise DataError(f"{path} holds several arrays ({', '.join(members)}): name one by the option 'key'")
    if key and key not in members:
        raise DataError(f"{path} holds no array '{key}'; it holds {', '.join(members)}")
    return members[key or next(iter(members))]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type in the header of an array. Raises ValueError."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format is for arrays of records")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError(_PICKLED)
    return shape, dtype


def _array(stream: IO[bytes], size: int) -> Array:
    """The array in a stream of `size` bytes. Its header is believed only if the stream is as long as it says."""
    shape, dtype = _header(stream)
    wanted = stream.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or wanted > size:
        raise ValueError(f"{size:,} bytes, but an array of shape {shape} has {wanted:,}: the file is not complete")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _giga(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
