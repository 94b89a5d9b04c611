"""The pages that are written when the site is built (an MkDocs hook): the reference, the reports, the
tables of metric cards, models and methods, the gallery, CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import _cards
import _choose
import _claims
import _few_steps
import _gallery
import _guidance
import _methods
from _reference import pages, pictures
from _results import RUNS, Report, add_to_navigation, fill, index, reports
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
REPORTS_MARK = "<!-- reports -->"
"""Where docs/results.md lists the reports that this site was built with."""

FILLED = {
    "metric-cards.md": _cards.fill,
    "claims.md": _claims.fill,
    "few-step-likelihoods.md": _few_steps.fill,
    "methods.md": _methods.fill,
    "choose-a-model.md": _choose.fill,
    "gallery.md": _gallery.fill,
    "results.md": fill,
    "suites.md": _guidance.fill,
}
"""Pages with a mark that is replaced by what the code or a file of figures says."""


def on_files(files: Any, config: Any) -> Any:
    """Add the reference pages, the reports of the runs in TRILEMMA_DOCS_RUNS, and CONTRIBUTING.md to the site."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for name, picture in pictures().items():
        files.append(File.generated(config, f"reference/{name}.png", content=picture))
    found = reports_to_build()
    for report in found:
        for uri, source in report.files():
            files.append(File.generated(config, uri, abs_src_path=str(source)))
    add_to_navigation(config["nav"], found)
    files.append(File.generated(config, "contributing.md", content=contributing()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the pages that have marks. Markdown inside `<details>` is read, as GitHub does in reports."""
    if page.file.src_uri == "results.md":
        markdown = markdown.replace(REPORTS_MARK, index(reports_to_build()))
    if page.file.src_uri in FILLED:
        markdown = FILLED[page.file.src_uri](markdown)
    return markdown.replace("<details>", "<details markdown>")


def contributing() -> str:
    """CONTRIBUTING.md, whose links are relative to the repository's root, as a page of the site."""
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")


def reports_to_build() -> list[Report]:
    """The reports in the folder that TRILEMMA_DOCS_RUNS names, relative to the root; none where it is not set."""
    folder = os.environ.get(RUNS)
    if not folder:
        return []
    try:
        return reports(ROOT / folder)
    except FileNotFoundError as error:
        raise PluginError(str(error)) from error
