"""The log of a cell: what its process printed, with the middle left out if it is long."""

from __future__ import annotations

import contextlib
import os

LOG_BYTES = 8 * 2**20
"""The largest size of a log."""


class LogFile:
    """Writes what a process prints to a file of at most LOG_BYTES.

    Of more, the first half is kept and, at any time, at least the last quarter. A full disk loses text and raises
    nothing.
    """

    def __init__(self, path: str) -> None:
        self._size = self._left_out = self._note = 0
        self._file: int | None = None
        with contextlib.suppress(OSError):
            # A link is not followed: it could lead out of the run directory.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def write(self, data: bytes) -> None:
        """Append data, of at most an eighth of LOG_BYTES."""
        with contextlib.suppress(OSError):
            if self._file is None:
                return
            if self._size + len(data) > LOG_BYTES:
                self._leave_out()
            self._size += os.pwrite(self._file, data, self._size)

    def _leave_out(self) -> None:
        """Replace the middle of the file by a line that says how much was left out."""
        assert self._file is not None
        head, tail = LOG_BYTES // 2, LOG_BYTES // 4
        kept = os.pread(self._file, tail, self._size - tail)
        self._left_out += self._size - head - tail - self._note
        note = b"\n[... %d bytes were left out here ...]\n" % self._left_out
        self._note = len(note)
        # Written first and cut then, so that the end of the text is in the file at any time.
        self._size = head + os.pwrite(self._file, note + kept, head)
        os.ftruncate(self._file, self._size)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
