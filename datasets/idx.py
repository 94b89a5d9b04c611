"""Reading the idx format of MNIST and its successors."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError

from .bounded import check_file, read_content

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an idx file, gzipped or not, in the machine's byte order. Raises DataError."""
    return parse_idx(read_content(path), str(path))


def idx_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in an idx file, from its header alone. Raises DataError."""
    check_file(path)
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            return _header(stream.read(4 + 4 * 255), str(path))[1]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error}): fetch it again") from error


def parse_idx(content: bytes, place: str) -> NDArray[Any]:
    """The array in uncompressed idx content: two zero bytes, type, rank, sizes (big-endian), values.

    Raises DataError, whose message names `place`.
    """
    dtype, shape = _header(content, place)
    rank = len(shape)
    wanted = 4 + 4 * rank + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) != wanted:
        raise DataError(f"{place}: {len(content)} bytes, but an idx file of shape {shape} has {wanted}: fetch it again")
    values = np.frombuffer(content, dtype, offset=4 + 4 * rank).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def _header(content: bytes, place: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape in the header of idx content."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{place}: not an idx file (it begins with {content[:4].hex(' ')})")
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise DataError(f"{place}: the header of the idx file is incomplete: fetch it again")
    return np.dtype(_TYPES[content[2]]), struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
