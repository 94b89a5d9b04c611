"""Text of others: what names may hold, and what reaches a terminal, a spreadsheet or a report."""

from __future__ import annotations

import io
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import trilemma
from trilemma.harness.terminal.console import SafeConsole
from trilemma.harness.text import printable, short_paths, spreadsheet_cell, unfit

ANY = st.text(st.characters(), max_size=40) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))
PART = st.text(st.sampled_from("abcXYZ019_.-"), min_size=2, max_size=8).filter(lambda part: part.strip("."))
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(ANY)
def test_printable_text_drives_no_terminal_and_can_be_written(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    left = {mark for mark in shown if unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp")}
    assert left <= {"\n", "\t"}
    assert not BIDI & set(shown)
    assert printable(shown) == shown
    if text.isprintable() and not BIDI & set(text):
        assert shown == text


@given(ANY)
def test_plain_text_is_fit_and_all_else_is_named(text: str) -> None:
    hostile = any(unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") or mark in BIDI for mark in text)
    assert bool(unfit(text)) == hostile


def test_half_a_surrogate_pair_costs_one_character() -> None:
    assert printable("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable("\x1b[31m\u202ex\x9b") == "\\x1b[31m\\u202ex\\x9b"


@given(ANY)
def test_a_console_prints_text_of_others_as_text(text: str) -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, markup=False, emoji=False, width=60, force_terminal=True, color_system=None)
    table = Table(text, box=None)
    table.add_row(text)
    table.add_row(Text(text))
    console.print(table)
    console.print(text)
    shown = file.getvalue()
    assert printable(shown) == shown


CELLS = st.text(max_size=20) | st.builds(str.__add__, st.sampled_from(list("=+-@\t\r\n ")), st.text(max_size=9))


@given(CELLS)
def test_no_cell_starts_a_formula(text: str) -> None:
    cell = str(spreadsheet_cell(text))
    assert cell in (text, f"'{text}")
    if cell == text and text.lstrip(" ")[:1] in tuple("=+-@\t\r"):
        assert text.strip() == "" or float(text) is not None


@pytest.mark.parametrize("number", ["-1", "+2.5", "-3e-7", ".5", "-.5", "1E6", -1.5, 0, None, True])
def test_numbers_stay_numbers(number: object) -> None:
    assert spreadsheet_cell(number) is number


@pytest.mark.parametrize(
    "text", ["=1+1", "+a", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "-", "-inf("]
)
def test_formulas_are_neutralized(text: str) -> None:
    assert spreadsheet_cell(text) == f"'{text}"


def test_a_frame_as_csv_keeps_its_numbers_and_its_shape() -> None:
    frame = pd.DataFrame(
        {"value": [-1.5, float("nan")], "=name": pd.Series(["=1", "a\x1b\ud800"], dtype=object), "flag": [True, None]}
    )
    text = trilemma.csv_text(frame)
    back = pd.read_csv(io.StringIO(text))
    assert back["value"].iloc[0] == -1.5
    assert back.iloc[:, 1].tolist() == ["'=1", "a\\x1b\N{REPLACEMENT CHARACTER}"]
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("OSError: /home/ann/secret/points.csv is gone", "OSError: points.csv is gone"),
        ("No such file: '/home/Ann Smith/my points.csv'", "No such file: 'my points.csv'"),
        ('File "/opt/venv/lib/python3.12/site-packages/torch/nn/x.py", line 3', 'File "torch/nn/x.py", line 3'),
        ('File "/home/ann/src/trilemma/harness/api.py", line 3', 'File "trilemma/harness/api.py", line 3'),
        ('File "/usr/lib/python3.12/json/decoder.py", line 3', 'File "json/decoder.py", line 3'),
        ("file(path=/data/customer/x.csv, n=3)", "file(path=x.csv, n=3)"),
        ("file:///home/ann/x.csv", "x.csv"),
        ("error:/home/ann/x.csv:12", "error:x.csv:12"),
        ('{"path": "/home/ann/x.csv"}', '{"path": "x.csv"}'),
        (r"C:\Users\ann\x.csv is gone", "x.csv is gone"),
        ("https://example.org/a/b/c and nats/dim, 1/2, and/or, a/b/c.py", None),
        ("class Gauss (/home/ann/mine.py:7): it has no `name`", "class Gauss (mine.py:7): it has no `name`"),
        ("~/x.csv and ./a/b.csv", None),
    ],
)
def test_absolute_paths_are_shortened(text: str, short: str | None) -> None:
    assert short_paths(text) == (text if short is None else short)


@given(
    st.lists(PART, min_size=3, max_size=6), st.sampled_from(["{}", "at {}", "'{}'", "({})", "p={}", '"{}"', "[{}]:"])
)
def test_no_folder_of_a_path_stays(parts: list[str], around: str) -> None:
    folders, name = ["root_" + part for part in parts[:-1]], parts[-1]
    shown = short_paths(around.format("/" + "/".join([*folders, name])))
    assert not any(folder in shown for folder in folders)
    assert name in shown
