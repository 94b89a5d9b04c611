"""Writing the report: HTML in one offline file, Markdown with its figures, and the results as CSV."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

import trilemma

from . import html, markdown

logger = logging.getLogger(__name__)


def write_report(
    view: trilemma.RunView, sections: Iterable[type[trilemma.ReportSection]], out: Path | str
) -> list[Path]:
    """Write `report.html`, `report.md` (with `figures/`) and `results.csv` of a run into the folder `out`.

    Each file is replaced atomically. If a section raises, its error is shown in its place, and the other sections are
    not affected. Returns the paths written. Raises StoreError if `out` is not empty and was not made by trilemma,
    OSError if it cannot be written.
    """
    out = Path(out).resolve() if Path(out).is_symlink() else Path(out)
    trilemma.claim_directory(out, of=view.path)
    rendered = render_sections(view, sections)
    title = str(view.suite.get("title") or view.suite.get("name") or view.path.name or "trilemma")
    page = html.render(
        "page.html.j2",
        title=title,
        sections=[(id, section.title, Markup(section.html)) for id, section in _anchored(rendered)],
        styles=html.assets(".css"),
        scripts=html.assets(".js"),
        version=trilemma.__version__,
    )
    written = [
        replace_file(out / "report.html", _bytes(page)),
        replace_file(out / "report.md", _bytes(_document(title, rendered))),
        replace_file(out / "results.csv", _bytes(trilemma.csv_text(trilemma.without_drawings(view.frame)))),
    ]
    for section in rendered:
        for name, content in section.figures.items():
            written.append(replace_file(out / "figures" / Path(name).name, content))
    return written


def render_sections(view: trilemma.RunView, sections: Iterable[type[trilemma.ReportSection]]) -> list[trilemma.Section]:
    """Render the sections that have something to show, by rising order. An error is shown in place of its section."""
    rendered = []
    for section in sorted(sections, key=lambda section: section.order):
        try:
            with trilemma.boundary():
                result = _checked(section().render(view))
        except Exception as error:
            trace = trilemma.printable(traceback.format_exc())
            logger.warning("report section '%s' failed\n%s", section.name, trace)
            result = _broken(section.name, error)
        if result is not None:
            rendered.append(result)
    return rendered


def _checked(result: trilemma.Section | None) -> trilemma.Section | None:
    """What a section returns, if the report can hold it. Raises TypeError otherwise."""
    if result is None:
        return None
    if not isinstance(result, trilemma.Section):
        raise TypeError(f"render returned {type(result).__name__}, not a trilemma.Section")
    if not all(isinstance(text, str) for text in (result.title, result.html, result.markdown)):
        raise TypeError("title, html and markdown of a section must be text")
    for name, content in dict(result.figures).items():
        last = Path(name).name
        if not isinstance(content, bytes) or last in ("", "..") or trilemma.printable(last) != last:
            raise TypeError(f"figure {name!r} is not a file name with the bytes of a PNG file")
    return result


def _anchored(sections: list[trilemma.Section]) -> list[tuple[str, trilemma.Section]]:
    """The sections with the ids by which links find them: `section-` and the words of the title."""
    found: dict[str, trilemma.Section] = {}
    for number, section in enumerate(sections, start=1):
        words = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
        id = f"section-{words or number}"
        found[f"{id}-{number}" if id in found else id] = section
    return list(found.items())


def _broken(name: str, error: Exception) -> trilemma.Section:
    what = trilemma.short_paths(trilemma.described(error))
    message = f"This section could not be rendered, because of an error in its code. {what}"
    return trilemma.Section(
        title=name,
        html=Markup('<p class="bad">{}</p>').format(message),
        markdown=markdown.escape(message),
    )


def _document(title: str, sections: list[trilemma.Section]) -> str:
    parts = [f"# {markdown.escape(title)}"]
    for section in sections:
        parts += [f"## {markdown.escape(section.title)}", section.markdown.strip()]
    return "\n\n".join(parts) + "\n"


def _bytes(text: str) -> bytes:
    """Text as UTF-8. What cannot be written, or would drive the terminal of a reader, is replaced."""
    return trilemma.printable(text).encode()


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file atomically, and return its path. Raises OSError if it cannot be, or its folder is a link."""
    if path.parent.is_symlink():
        raise OSError(f"{path.parent} is a link, which trilemma does not follow; remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path
