"""What the process of a cell tells its supervisor."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

PROGRESS_SECONDS = 0.2


class Events:
    """Appends events for the supervisor to a file, one JSON line each, with progress at most a few times a second."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("a", encoding="utf-8", buffering=1)
        self._last = 0.0

    def emit(self, **event: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end a cell because of its progress bar
            self._stream.write(json.dumps(event) + "\n")

    def phase(self, phase: str) -> None:
        self.emit(phase=phase)
        self._last = 0.0

    def note(self, text: str) -> None:
        """A message for the user, and for the log."""
        print(text, flush=True)
        self.emit(note=text)

    def progress(self, fraction: float, message: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self.emit(progress=round(fraction, 4), message=message)
