"""What the process of a cell records of an error."""

from __future__ import annotations

import time
import traceback
from typing import Any

import torch

from ..boundary import described
from ..errors import DivergedError, MissingLibraryError, TrilemmaError, UnsupportedError
from ..plugins.libraries import missing_library, need_of
from ..text import printable

LONGEST_TRACEBACK = 20_000


def ending_of(error: BaseException, phase: str, started: float, distribution: str = "") -> dict[str, Any]:
    """The record of an error: its outcome, phase, time since `started`, message and the end of its traceback.

    If a library is missing, `needs` names it; the `distribution` of the plugin may say which version it needs.
    """
    outcome, message = "error", message_of(error)
    library = error.library if isinstance(error, MissingLibraryError) else missing_library(error)
    if library and not isinstance(error, MissingLibraryError):
        message = need_of(library, distribution)
    if library or isinstance(error, UnsupportedError):
        outcome = "unsupported"
    elif isinstance(error, DivergedError):
        outcome = "diverged"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in message_of(error):
        outcome = "out-of-memory"
    return {
        "outcome": outcome,
        "phase": phase,
        "elapsed": time.monotonic() - started,
        "message": message,
        "traceback": printable("".join(traceback.format_exception(error)[-12:])[-LONGEST_TRACEBACK:]),
        **({"needs": library} if library else {}),
    }


def message_of(error: BaseException) -> str:
    """The message of an error in a record. An error of trilemma says all by its text, any other has its type first."""
    text = described(error)
    own = isinstance(error, TrilemmaError) and type(error).__module__.startswith("trilemma.")
    return printable(text.removeprefix(f"{type(error).__name__}: ") if own else text)
