"""The built-in report: its sections, the command that writes it, and the hook that writes it after a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trilemma

from .command import report
from .share.commands import export, site

if TYPE_CHECKING:
    import click
    import pandas as pd


SECTIONS = {
    "answer": ".sections.answer:Answer",
    "overview": ".sections.overview:Overview",
    "comparison": ".sections.comparison:Comparison",
    "overall": ".sections.overall:Overall",
    "claims": ".sections.claims:Claims",
    "samples": ".sections.samples:Samples",
    "curves": ".sections.curves:Curves",
    "training": ".sections.training:Training",
    "columns": ".sections.columns:Columns",
    "details": ".sections.details:Details",
    "failures": ".sections.failures:Failures",
    "provenance": ".sections.provenance:Provenance",
}
"""Every built-in section by its name."""


@trilemma.hookimpl
def trilemma_report_sections() -> dict[str, str]:
    """The built-in sections of the report."""
    return SECTIONS


@trilemma.hookimpl
def trilemma_run_finished(
    path: Path, results: pd.DataFrame, sections: list[type[trilemma.ReportSection]]
) -> list[Path]:
    """Write the report into the run directory."""
    from .write import write_report

    return write_report(trilemma.RunView.open(path, results), sections, path)


@trilemma.hookimpl
def trilemma_notebook(path: Path, results: pd.DataFrame, sections: list[type[trilemma.ReportSection]]) -> str:
    """The beginning of the report, in a frame."""
    from .notebook import notebook_html

    return notebook_html(trilemma.RunView.open(path, results), sections)


@trilemma.hookimpl
def trilemma_commands(group: click.Group) -> None:
    """Add the commands `trilemma report`, `trilemma export` and `trilemma site`."""
    for command in (report, export, site):
        group.add_command(command)
