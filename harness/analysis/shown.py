"""The results of a run as a frame that a notebook shows by what may be concluded from them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..plugins import Registry
from .view import report_sections


class Results(pd.DataFrame):
    """The results frame of a run directory. It is an ordinary frame, and what is selected from it is one.

    A notebook shows the conclusions that the report of the run begins with, and not the rows.
    """

    _metadata = ["path"]

    def __init__(self, frame: pd.DataFrame, path: Path) -> None:
        super().__init__(frame)  # type: ignore[call-arg]
        self.attrs = dict(frame.attrs)
        self.path = path

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        """The conclusions as HTML, or the rows if no plugin has any."""
        registry = Registry()
        shown = registry.observe("notebook", path=self.path, results=self, sections=report_sections(registry))
        found = next((seen.value for seen in shown if isinstance(seen.value, str)), None)
        return found if found is not None else pd.DataFrame(self)._repr_html_()  # type: ignore[operator, no-any-return]
