"""One error type per kind of mistake. Every message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class TrilemmaError(Exception):
    """Base of every error that trilemma raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One mistake in an input: what it is, the place, and a suggestion."""

    message: str
    file: str = ""
    line: int | None = None
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}{self.message}{hint}"


class SuiteError(TrilemmaError):
    """A suite that cannot be run. `problems` holds every mistake found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class PluginError(TrilemmaError):
    """A plugin that cannot be loaded, or that registers something invalid or already taken."""


class DataError(TrilemmaError):
    """Data that cannot be used: wrong shape, not finite, too few rows, missing file."""


class StoreError(TrilemmaError):
    """A run directory that cannot be read or written."""


class UnsupportedError(TrilemmaError):
    """What was asked is not defined for this model or dataset; recorded as outcome `unsupported`, not as a failure."""


class DivergedError(TrilemmaError):
    """Training or sampling left the finite numbers; recorded as outcome `diverged`."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt name: the closest known one, or the whole list where nothing is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else "none are known"
