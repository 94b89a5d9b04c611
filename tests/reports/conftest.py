"""What the tests of reports share: a synthetic run, its report, and readers of reports."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.reports.write import write_report

SECTIONS = list(Registry(builtin_only=True).classes("report_sections").values())


@pytest.fixture(scope="session")
def synthetic(module_of: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `synthetic.py`."""
    return module_of(Path(__file__).with_name("synthetic.py"))


@pytest.fixture(scope="session")
def make_frame(synthetic: Any) -> Callable[..., pd.DataFrame]:
    """The frame of the synthetic run: `make_frame(seeds=(0, 1, 2))`."""
    return synthetic.synthetic_frame


@pytest.fixture(scope="session")
def make_view(synthetic: Any) -> Callable[..., trilemma.RunView]:
    """A view of the synthetic run, or of another frame: `make_view(path, frame=None)`."""
    return synthetic.synthetic_view


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, make_view: Callable[..., trilemma.RunView]) -> trilemma.RunView:
    """The view of the synthetic run, which no test changes, so that its digest is made once."""
    return make_view(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def one_seed(
    tmp_path_factory: pytest.TempPathFactory,
    make_frame: Callable[..., pd.DataFrame],
    make_view: Callable[..., trilemma.RunView],
) -> trilemma.RunView:
    """The view of one seed of the synthetic run, which no test changes."""
    return make_view(tmp_path_factory.mktemp("seed"), make_frame(seeds=(0,)))


@pytest.fixture(scope="session")
def labels(synthetic: Any) -> list[str]:
    """Labels of the models of the synthetic run."""
    return list(synthetic.MODELS)


class Page(HTMLParser):
    """Collects tags with their attributes, and checks that elements nest."""

    VOID = ("meta", "img", "wbr", "path", "use", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    """Parse a page of HTML."""
    return Page


def read_tables(text: str) -> list[list[list[str]]]:
    """The tables of a GitHub Markdown text as rows of cells, read by an independent parser."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level >= 4:
            found[-1][-1].append(token.content)
    return found


@pytest.fixture(scope="session")
def tables() -> Callable[[str], list[list[list[str]]]]:
    """`read_tables`."""
    return read_tables


def write_quickly(view: trilemma.RunView, out: Path, *names: str) -> tuple[str, str]:
    """HTML and Markdown of a report: of all sections, or of the named ones."""
    write_report(view, [section for section in SECTIONS if not names or section.name in names], out)
    return (out / "report.html").read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def quick() -> Callable[..., tuple[str, str]]:
    """`write_quickly`."""
    return write_quickly


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, whole: trilemma.RunView) -> Path:
    """The directory of the report of the synthetic run."""
    out = tmp_path_factory.mktemp("report")
    paths = write_report(whole, SECTIONS, out)
    assert all(path.is_file() and path.stat().st_size for path in paths)
    marker = out / "trilemma.json"
    assert sorted(p for p in out.rglob("*") if p.is_file()) == sorted([marker, *paths]), "temporary files left behind"
    return out
