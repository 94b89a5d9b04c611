"""The reports of finished runs: what they say stands on docs/results.md, and they can be pages of the site.

    python docs/_results.py runs/scores runs/flows

writes what the reports of these run directories say to docs/results.json. Other suites in the file stay.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "results.json"
"""What the reports of the suites said."""

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


# What the reports say


def fill(markdown: str) -> str:
    """The page, with the answers and tables of each suite at its mark `<!-- results of SUITE -->`."""
    found = stored()

    def of(mark: re.Match[str]) -> str:
        name = mark["suite"]
        return section(found[name]) if name in found else f"`trilemma run {name}` was not measured for this version."

    return re.sub(r"<!-- results of (?P<suite>[\w-]+) -->", of, markdown)


def stored() -> dict[str, Any]:
    """The stored suites by name."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return found


def section(found: dict[str, Any]) -> str:
    """What a suite gave: how it was run, and for each dataset the answers and the table."""
    parts = [f"`{found['command']}` with version {found['version']}: {found['setting']}"]
    for dataset in found["datasets"]:
        parts += [f"### {dataset['title']}", dataset["answers"]]
        if dataset["table"]:
            parts.append(f"<details><summary>Table</summary>\n\n{dataset['table']}\n\n</details>")
    return "\n\n".join(parts)


def read(run: Path) -> tuple[str, dict[str, Any]]:
    """The name of a run's suite, and what its report says."""
    text = (run / "report.md").read_text(encoding="utf-8")
    last = json.loads((run / "run.json").read_text(encoding="utf-8"))["runs"][-1]
    name, versions = last["suite"]["name"], last["environment"]["versions"]
    glance, tables = _parts(text, "At a glance"), _parts(text, "Comparison")
    datasets = [
        {
            "title": title,
            "answers": "\n".join(line for line in answer.splitlines() if line.startswith("- ")),
            "table": "\n".join(line for line in _before(tables.get(title, ""), "<details>") if line.startswith("|")),
        }
        for title, answer in glance.items()
        if title
    ]
    return name, {
        "command": f"trilemma run {name}",
        "version": versions["trilemma"],
        "setting": glance[""],
        "datasets": datasets,
    }


def _parts(text: str, heading: str) -> dict[str, str]:
    """The texts below the headings of a section of a report; at \"\" what comes before the first."""
    (_, _, rest) = text.partition(f"\n## {heading}\n")
    first, *others = re.split(r"^### ", rest.partition("\n## ")[0], flags=re.MULTILINE)
    named = (part.partition("\n") for part in others)
    return {"": first.strip(), **{title.strip(): body.strip() for title, _, body in named}}


def _before(text: str, mark: str) -> list[str]:
    return text.partition(mark)[0].splitlines()


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Store what the reports of suites say for the page of results.")
    parser.add_argument("runs", nargs="+", type=Path, help="finished run directories, with reports")
    found = stored()
    found.update(read(run) for run in parser.parse_args().runs)
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
