"""Files of a run directory: written completely or not at all, sealed with a checksum, and read without following links.

A sealed file is JSON on one line. Its first key, `sha256`, is the checksum of the same JSON without that key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from ..errors import StoreError

FORMAT = 3
"""The format of run directories that this version reads and writes. Every sealed file names it."""

_SEAL = b'{"sha256":"'
_BODY = len(_SEAL) + 64 + len('",')


class WriteError(StoreError, OSError):
    """A file of a run directory cannot be written: the disk is full, or read-only."""


class DamagedError(Exception):
    """A file of a run directory is not as it was written. The text says what is wrong with it."""


def write_json(file: Path, record: Any) -> None:
    """Write a JSON file atomically: under a temporary name, then flushed and renamed. Raises WriteError."""
    write_whole(file, json.dumps(record).encode())


def write_sealed(file: Path, record: dict[str, Any]) -> None:
    """Write a sealed JSON file atomically. Raises WriteError."""
    write_whole(file, sealed(record))


def write_whole(file: Path, content: bytes) -> None:
    """Write a file atomically. Raises WriteError."""
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            _write_new(staging, content, lasting=True)
            os.replace(staging, file)
            flush(file.parent)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{file} could not be written: {error}") from None


def write_new(file: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file into a folder that nobody else uses yet. Raises WriteError.

    If it is `lasting`, it is flushed to the disk; its name is so when the folder is flushed.
    """
    try:
        _write_new(file, content, lasting)
    except OSError as error:
        raise WriteError(f"{file} could not be written: {error}") from None


def _write_new(file: Path, content: bytes, lasting: bool) -> None:
    file.unlink(missing_ok=True)  # of a killed process, or a link that leads elsewhere
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
        stream.write(content)
        stream.flush()
        if lasting:
            os.fsync(stream.fileno())


def sealed(record: dict[str, Any]) -> bytes:
    """A record, which has at least one key, as sealed JSON."""
    body = json.dumps(record, separators=(",", ":")).encode()
    seal = hashlib.sha256(body).hexdigest().encode()
    return b"".join((_SEAL, seal, b'",', memoryview(body)[1:], b"\n"))  # one copy: a list of cells has megabytes


def read_sealed(file: Path) -> dict[str, Any]:
    """The record in a sealed file, without its seal.

    A file that was only laid out anew is accepted. Raises FileNotFoundError, and DamagedError if the file cannot be
    read, its checksum does not match, or it is of another format.
    """
    record, is_whole = _parsed(read_file(file).rstrip())
    if record.get("format", FORMAT) != FORMAT and (is_whole or "sha256" not in record):
        raise DamagedError(f"has the format {record['format']}")
    if not is_whole:
        raise DamagedError("is damaged (its checksum does not match)")
    return record


def _parsed(content: bytes) -> tuple[dict[str, Any], bool]:
    """The record of a sealed file, and whether its checksum matches. Raises DamagedError."""
    body = b"{" + content[_BODY:]
    try:
        if content.startswith(_SEAL) and _matches(body, content[len(_SEAL) : _BODY - 2].decode()):
            return json.loads(body), True
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedError("is damaged (it is not JSON)") from None
    if not isinstance(record, dict):
        raise DamagedError("is damaged (it holds something else than a record)")
    unsealed = {key: value for key, value in record.items() if key != "sha256"}
    if _matches(json.dumps(unsealed, separators=(",", ":")).encode(), record.get("sha256")):
        return unsealed, True
    return record, False


def _matches(body: bytes, seal: Any) -> bool:
    return bool(hashlib.sha256(body).hexdigest() == seal)


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is absent, unreadable or holds something else."""
    try:
        record = json.loads(read_file(file))
    except (OSError, DamagedError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_file(file: Path) -> bytes:
    """The content of a file. Raises FileNotFoundError, and DamagedError for a link, a folder or what cannot be read."""
    with _opened(file) as stream:
        return stream.read()


def checksum(file: Path) -> str:
    """The SHA-256 of the content of a file. Raises FileNotFoundError and DamagedError, as `read_file` does."""
    with _opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    """A regular file, open for reading. Neither a link nor a pipe is followed or waited for."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise DamagedError(_unreadable(file))
            yield stream
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(_unreadable(file, error)) from None


def _unreadable(file: Path, error: OSError | None = None) -> str:
    try:
        mode = file.lstat().st_mode
    except OSError:
        mode = 0
    if stat.S_ISLNK(mode):
        return "is damaged (it is a link, which trilemma does not follow)"
    if stat.S_ISDIR(mode):
        return "is damaged (it is a folder)"
    return f"cannot be read ({error.strerror})" if error else "is damaged (it is not a file)"


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
