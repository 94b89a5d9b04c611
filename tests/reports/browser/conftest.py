"""A real browser without a network, and pages of the report of the synthetic run in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.reports.sections.answer import Answer
from trilemma.reports.sections.comparison import Comparison
from trilemma.reports.write import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One browser for all tests of this folder. Where there is none, they skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dependency group `browser`")
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.skip("no Chromium is installed: tests/reports/browser/chromium.sh installs it")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=chromium)


@pytest.fixture
def visit(browser: Any, written: Path) -> Iterator[Callable[..., Any]]:
    """Open the report of the synthetic run, or another one: `visit(width=1440, height=900, report=None, **options)`.

    At the end of the test no page may have said an error, opened a dialog, or asked for anything but its file.
    """
    said: list[str] = []
    contexts = []

    def opened(width: int = 1440, height: int = 900, report: Path | None = None, **options: Any) -> Any:
        settings = {"reduced_motion": "reduce", "permissions": ["clipboard-read", "clipboard-write"], **options}
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **settings)
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        file = (report or written) / "report.html"
        page.on(
            "request",
            lambda request: said.append(request.url) if not request.url.startswith((file.as_uri(), "data:")) else None,
        )
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture
def copied() -> Callable[[Any, str], str]:
    """What a button of the first table copies: `copied(page, "CSV")`."""

    def press(page: Any, name: str) -> str:
        tools = page.locator(".tools").first
        tools.get_by_role("button", name=name).click()
        tools.locator(".said", has_text=f"as {name}").wait_for()
        return str(page.evaluate("navigator.clipboard.readText()"))

    return press


EVIL = [
    "=HYPERLINK(1)", "@sum(a)", "<img src=x onerror=alert(1)>", "a|b `c` *d* $e$ \\input{f} %g & _h^~#",
    "'\"><script>alert(2)</script>", "javascript:alert(3)", "-2+3",
]  # fmt: skip
"""Names of models that must do nothing: formulas, markup of pages, of Markdown and of LaTeX."""


@pytest.fixture(scope="package")
def evil(
    tmp_path_factory: pytest.TempPathFactory,
    make_frame: Callable[..., pd.DataFrame],
    make_view: Callable[..., trilemma.RunView],
    labels: list[str],
) -> tuple[Path, list[str]]:
    """The folder of a report whose models, metrics, options and cells have hostile names, and these names."""
    out = tmp_path_factory.mktemp("evil")
    frame = make_frame(seeds=(0,))
    frame["label"] = frame["label"].replace(dict(zip(labels, EVIL, strict=True)))
    frame["sampler"] = frame["sampler"].replace({"direct": "=1+1<b>"})
    frame["cell"] = frame["cell"] + '"; reboot #<i>'
    frame["config"] = '{"</code><script>alert(4)</script>": "</style><script>alert(5)</script>"}'
    frame["title"] = frame["title"].replace({"NFE": '"}</style><script>alert(6)</script>{}'})
    write_report(make_view(out / "run", frame), [Answer, Comparison], out)
    return out, EVIL
