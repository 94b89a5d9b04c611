"""Runs in a notebook: the progress below the cell, the options that editors complete, and what a frame looks like."""

from __future__ import annotations

import html
import inspect
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.terminal import notebook
from trilemma.harness.terminal.notebook import NotebookProgress, progress_here
from trilemma.harness.terminal.progress import RichProgress


class Shell:
    """A stand-in for the shell of a notebook."""

    kernel = object()


class Handle:
    """A stand-in for an output below a cell. It keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, content: str) -> None:
        self.shown.append(content)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """The output below the cell of a notebook in which this process seems to run."""
    handle = Handle()

    def display(content: str, *, display_id: bool) -> Handle:
        assert display_id
        handle.update(content)
        return handle

    package: Any = ModuleType("IPython")
    package.get_ipython = Shell
    package.display: Any = ModuleType("IPython.display")
    package.display.display, package.display.HTML = display, str
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    monkeypatch.setattr(notebook, "SECONDS", 0.02)
    return handle


def test_the_progress_is_chosen_by_where_it_is_shown(output: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_here(), NotebookProgress)
    monkeypatch.setattr(Shell, "kernel", None)  # IPython in a terminal
    assert isinstance(progress_here(), RichProgress)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(progress_here(), RichProgress)


def test_a_run_is_shown_below_the_cell(output: Handle, tmp_path: Path, tiny_suite: dict[str, Any]) -> None:
    frame = trilemma.run(tiny_suite, out=tmp_path / "run", models=["gaussian"])
    assert set(frame["outcome"]) == {"ok"}
    assert len(output.shown) > 2
    assert any("gaussian on ring8" in shown for shown in output.shown)
    assert re.fullmatch(r"<pre [^>]*>1 ok, in \d+ s</pre>", output.shown[-1])
    before = len(output.shown)
    time.sleep(0.1)
    assert len(output.shown) == before, "it is still shown after the run"


def test_text_of_others_is_escaped(output: Handle) -> None:
    with NotebookProgress() as progress:
        progress.message("<script>alert(1)</script>\x1b[2J")
    assert "&lt;script&gt;" in output.shown[-1]
    assert "<script" not in "".join(output.shown)
    assert "\x1b" not in "".join(output.shown)


def test_progress_can_be_turned_off(output: Handle) -> None:
    for progress in (False, True):
        with pytest.raises(trilemma.SuiteError):
            trilemma.run("no-such-suite", progress=progress)
        assert bool(output.shown) == progress


def test_the_options_of_a_run_are_named() -> None:
    of_run = inspect.signature(trilemma.run).parameters
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in of_run.values())
    of_runner = inspect.signature(make_runner).parameters
    assert set(of_runner) - {"cluster"} <= set(of_run)
    of_tune = inspect.signature(trilemma.tune).parameters
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in of_tune.values())
    with pytest.raises(TypeError, match="'budgets'"):
        trilemma.run("smoke", budgets="5s")  # type: ignore[call-arg]


def test_a_frame_shows_the_conclusions_and_is_a_frame(finished: Path) -> None:
    frame = trilemma.load_results(finished)
    shown = frame._repr_html_()
    assert shown.startswith("<iframe sandbox=")
    page = html.unescape(re.findall(r'srcdoc="([^"]*)"', shown)[0])
    assert page.lstrip().startswith("<!doctype html>")
    assert "realnvp" in page
    part = frame[frame["metric"] == "nll"]
    assert type(part) is pd.DataFrame
    assert "<table" in part._repr_html_()
    assert frame.attrs == trilemma.load_results(finished).attrs
