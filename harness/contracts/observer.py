"""The contract of an observer that a run is given by name."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar


class Observer(ABC):
    """Base class of observers, which a run gets by name: `trilemma run --observer NAME`.

    A subclass gives `name` and implements observer hooks as methods, each marked with `@trilemma.hookimpl`, such as
    `trilemma_run_finished(self, path, results)`. One instance is made for each run, without arguments, in the parent
    process. If it cannot work, because a package is not installed, its constructor raises TrilemmaError, and the run
    does not start. Errors in its hooks are reported and never fail a cell.
    """

    name: ClassVar[str]
