"""The built-in report: its sections, the command that writes it, and the hook that writes it after a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trilemma

from .command import report

if TYPE_CHECKING:
    import click


@trilemma.hookimpl
def trilemma_report_sections() -> list[type[trilemma.ReportSection]]:
    """The built-in sections of the report."""
    from .sections.comparison import Comparison
    from .sections.curves import Curves
    from .sections.failures import Failures
    from .sections.overall import Overall
    from .sections.overview import Overview
    from .sections.provenance import Provenance
    from .sections.samples import Samples

    return [Overview, Comparison, Overall, Samples, Curves, Failures, Provenance]


@trilemma.hookimpl
def trilemma_run_finished(path: Path, sections: list[type[trilemma.ReportSection]]) -> list[Path]:
    """Write the report into the run directory."""
    from .write import write_report

    return write_report(trilemma.RunView.open(path), sections, path)


@trilemma.hookimpl
def trilemma_commands(group: click.Group) -> None:
    """Add the command `trilemma report`."""

    group.add_command(report)
