"""The error types, one for each kind of mistake. A message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

MOST_PROBLEMS = 50  # in one message
LONGEST_GUESS = 100  # a longer name is no slip of the keyboard, and comparing it takes long


class TrilemmaError(Exception):
    """Base class of all errors that trilemma raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One mistake in an input: a message, the place, and a suggestion."""

    message: str
    file: str = ""
    line: int | None = None
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}{self.message}{hint}"


class SuiteError(TrilemmaError):
    """A suite cannot be run. `problems` holds every mistake found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [str(problem) for problem in problems[:MOST_PROBLEMS]]
        lines += [f"... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        super().__init__("\n".join(lines))


class PluginError(TrilemmaError):
    """A plugin cannot be loaded, or registers something that is invalid or has a name in use."""


class MissingLibraryError(PluginError):
    """A class cannot be loaded because a library that it needs is not installed. The outcome is `unsupported`."""

    def __init__(self, message: str, library: str) -> None:
        self.library = library
        super().__init__(message)


class DataError(TrilemmaError):
    """Data cannot be used, because of its shape, values that are not finite, too few rows or a missing file."""


class StoreError(TrilemmaError):
    """A run directory cannot be read or written."""


class UnsupportedError(TrilemmaError):
    """A computation is not defined for this model or dataset. The outcome is `unsupported`, which is not a failure."""


class DivergedError(TrilemmaError):
    """Training or sampling gave numbers that are not finite. The outcome is `diverged`."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown name: the closest known name, or all known names if none is close."""
    known = sorted(known)
    if len(name) > LONGEST_GUESS:
        name = ""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else "none are known"
