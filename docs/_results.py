"""The reports of finished runs, as pages of the site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNS = "TRILEMMA_DOCS_RUNS"
"""The environment variable that names a folder of run directories."""

SECTION = "Results"
"""The section of the navigation that reports are added to."""


@dataclass(frozen=True)
class Report:
    """The report of one run directory."""

    path: Path

    @property
    def uri(self) -> str:
        """Where the page stands in the site's sources."""
        return f"results/{self.path.name}/report.md"

    @property
    def title(self) -> str:
        """The heading of the report, as its Markdown has it."""
        heading, *_ = (self.path / "report.md").read_text(encoding="utf-8").splitlines()
        return heading.removeprefix("# ")

    def files(self) -> Iterator[tuple[str, Path]]:
        """(place in the site, source) of the page and of its figures."""
        yield self.uri, self.path / "report.md"
        for figure in sorted((self.path / "figures").glob("*.png")):
            yield f"results/{self.path.name}/figures/{figure.name}", figure


def reports(folder: Path) -> list[Report]:
    """The reports of the run directories in a folder, by name.

    Raises FileNotFoundError where there is none.
    """
    found = [Report(path.parent) for path in sorted(folder.glob("*/report.md"))]
    if not found:
        raise FileNotFoundError(
            f"{RUNS} is {folder}, which holds no run directory with a report.md; run a suite or 'trilemma report DIR',"
            f" or unset {RUNS}"
        )
    return found


def add_to_navigation(navigation: list[Any], found: list[Report]) -> None:
    """Add the reports to the section "Results" of `mkdocs.yml`'s navigation."""
    (section,) = (entry[SECTION] for entry in navigation if SECTION in entry)
    section.extend({report.title: report.uri} for report in found)


def index(found: list[Report]) -> str:
    """A Markdown list of the reports, or a sentence that says how to build the site with reports."""
    if not found:
        return (
            f"This copy of the documentation was built without reports. Set `{RUNS}` to a folder of run directories to"
            " add them: see [Cut a release](contributing.md#cut-a-release)."
        )
    lines = [f"- [{report.title}]({report.uri})" for report in found]
    return "This copy of the documentation was built with these reports:\n\n" + "\n".join(lines)
