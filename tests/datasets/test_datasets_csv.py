"""CSV files as strangers have them: each is read as the same table, or what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trilemma
from trilemma.datasets.csv_files import layout
from trilemma.datasets.files import File

N = 120
VALUES = np.random.RandomState(0).standard_normal((N, 2)).round(3)
FRAME = pd.DataFrame(VALUES, columns=["alcohol", "ash"])
WORDS = [("red", "white", "rosé")[number % 3] for number in range(N)]


def text(frame: pd.DataFrame = FRAME, **options: object) -> str:
    """A table as CSV, without the column of row numbers."""
    return str(frame.to_csv(**{"index": False, **options}))


def read(file: Path, **options: object) -> File:
    """The dataset of a file, in the order of its rows."""
    return File(File.Config(path=str(file), shuffle=False, **options))


def rows(dataset: File) -> np.ndarray:
    """All rows of a dataset."""
    return np.concatenate([part.numpy() for part in (dataset.splits.train, dataset.splits.valid, dataset.splits.test)])


SAME = {
    "plain": text(),
    "no header": text(header=False),
    "row numbers": FRAME.to_csv(),
    "semicolons and decimal commas": text(sep=";", decimal=","),
    "tabs": text(sep="\t"),
    "bars": text(sep="|"),
    "spaces": text(sep=" "),
    "aligned with spaces": FRAME.to_string(index=False),
    "all quoted": text(quoting=1),
    "blanks after commas": text().replace(",", ", "),
    "a comma at the end of each line": text().replace("\n", ",\n"),
    "a comma at the end of each row": text().replace("\n", ",\n").replace(",\n", "\n", 1),
    "a comment above": "# made by hand\n\n" + text(),
    "a line for a spreadsheet": "sep=;\n" + text(sep=";"),
    "line ends of Windows": text().replace("\n", "\r\n"),
    "line ends of old Macs": text().replace("\n", "\r"),
    "no line end at the end": text().rstrip(),
    "names of rows without a heading": text(FRAME.set_axis([f"r{i}" for i in range(N)]), index=True).replace(
        ",", "", 1
    ),
    "years as names": "2019,2020\n" + text(header=False),
    "numbers as names": text(FRAME.set_axis([0, 1], axis=1)),
    "words": text(FRAME.assign(color=WORDS)),
    "words without a header": text(FRAME.assign(color=WORDS), header=False),
    "words with commas": text(FRAME.assign(color=[f"{word}, dry" for word in WORDS])),
    "dates": text(FRAME.assign(day=pd.date_range("2024-01-30", periods=N).astype(str))),
    "a constant": text(FRAME.assign(unit=7)),
    "a copy": text(FRAME.assign(again=FRAME["ash"])),
    "an empty column": text(FRAME.assign(note="")),
}


@pytest.mark.parametrize("name", SAME)
def test_usual_files_are_read_as_the_same_table(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(SAME[name].encode())
    dataset = read(file)
    np.testing.assert_allclose(rows(dataset), VALUES, rtol=1e-6)
    if "no header" in name or "without a header" in name or "as names" in name:
        assert dataset.coordinates() in [("0", "1"), ("2019", "2020")]
    else:
        assert dataset.coordinates() == ("alcohol", "ash")
    named = {"words": "color", "dates": "day", "a constant": "unit", "a copy": "again", "an empty column": "note"}
    if name in named:
        assert f"column left out: '{named[name]}'" in " ".join(dataset.remarks())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.csv"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    file.write_bytes((mark + text(FRAME.set_axis(["größe", "ash"], axis=1))).encode(encoding))
    dataset = read(file)
    assert dataset.coordinates() == ("größe", "ash")
    np.testing.assert_allclose(rows(dataset), VALUES, rtol=1e-6)


@pytest.mark.parametrize("hole", ["", "NA", "?", "null", "-", "N/A", "inf", "n.d."])
def test_holes_cost_their_rows(tmp_path: Path, hole: str) -> None:
    lines = text().splitlines()
    lines[5] = f"1.5,{hole}"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    dataset = read(tmp_path / "a.csv")
    np.testing.assert_allclose(rows(dataset), np.delete(VALUES, 4, axis=0), rtol=1e-6)
    assert "1 of 120 rows left out, because values are missing, infinite or unreadable in 'ash' (1)" in str(
        dataset.remarks()
    )


def test_huge_whole_numbers_are_numbers(tmp_path: Path) -> None:
    huge = [str(10**30 + 10**27 * number**2) for number in range(N)]
    (tmp_path / "a.csv").write_text(text(FRAME.assign(huge=huge)))
    np.testing.assert_allclose(rows(read(tmp_path / "a.csv"))[:, 2], np.array(huge, dtype=float), rtol=1e-6)


def test_columns_are_chosen_and_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(FRAME.assign(color=WORDS, third=VALUES[:, 0] ** 2)))
    assert read(tmp_path / "a.csv", columns=["third", "ash"]).coordinates() == ("third", "ash")
    assert read(tmp_path / "a.csv", drop=["ash", "color"]).coordinates() == ("alcohol", "third")
    for options, message in (
        ({"columns": ["color"]}, "column 'color' cannot be used: text with 3 different values such as"),
        ({"drop": ["alcool"]}, "there is no column 'alcool'; the columns are alcohol, ash, color, third"),
    ):
        with pytest.raises(trilemma.DataError, match=message):
            read(tmp_path / "a.csv", **options).load()


def test_the_header_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("5,7\n" + text(header=False))
    assert read(tmp_path / "a.csv").coordinates() == ("0", "1")
    assert read(tmp_path / "a.csv", header="yes").coordinates() == ("5", "7")
    assert len(rows(read(tmp_path / "a.csv", header="no"))) == N + 1


def test_copies_of_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(pd.concat([FRAME, FRAME[:30]])))
    assert "30 rows repeat an earlier row" in str(read(tmp_path / "a.csv").remarks())


def test_hostile_names_cannot_drive_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(FRAME.assign(**{"\x1b[2J<b>x": WORDS})))
    said = str(read(tmp_path / "a.csv").remarks())
    assert "\x1b" not in said
    assert "<b>x" in said


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1,5;2,5", "2,5;3,5"], (";", ",", False)),
        (["a;b", "1,5;2", "2,5;3"], (";", ",", True)),
        (["a,b", "1.5,2", "2.5,3"], (",", ".", True)),
        (["2020-01-01 10:00:00,1.5", "2020-01-02 10:00:00,2.5"], (",", ".", False)),
        (["x", "1", "2"], (",", ".", True)),
        (["1", "2"], (",", ".", False)),
        (["name,town", "ann,bonn", "bob,rom"], (",", ".", True)),
        ([], (",", ".", True)),
    ],
)
def test_layouts(lines: list[str], expected: tuple[str, str, bool]) -> None:
    found = layout(lines)
    assert (found.separator, found.decimal, found.header) == expected


def test_a_table_of_many_rows(tmp_path: Path, sizes: Callable[[trilemma.Dataset], list[int]]) -> None:
    big = pd.DataFrame(np.random.RandomState(0).standard_normal((100_000, 5)).round(3))
    big.to_csv(tmp_path / "big.csv", index=False)
    assert sizes(read(tmp_path / "big.csv")) == [70_000, 10_000, 20_000]
