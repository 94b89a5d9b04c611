"""What a notebook shows of a run: the page of the report with the first of its sections alone, in a frame."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

import trilemma

from .write import write_report

HEIGHT = 640  # pixels


def notebook_html(view: trilemma.RunView, sections: Sequence[type[trilemma.ReportSection]]) -> str:
    """The first section that the report has, as a frame of HTML, which cannot reach the notebook around it."""
    page = ""
    for section in sorted(sections, key=lambda section: section.order):
        with tempfile.TemporaryDirectory(prefix="trilemma-") as folder:
            write_report(view, [section], folder)
            page = Path(folder, "report.html").read_text(encoding="utf-8")
        if '<section id="' in page:
            break
    return Markup(
        '<iframe sandbox="allow-scripts" srcdoc="{}" style="width: 100%; height: {}px; border: 0"></iframe>'
    ).format(page, HEIGHT)
