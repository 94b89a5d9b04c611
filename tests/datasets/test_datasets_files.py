"""A user's own tables: every format, and every mistake that they may hold."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

import trilemma
from trilemma.datasets.files import File

IDX = struct.pack(">4B2I", 0, 0, 8, 2, 5, 4) + bytes(20)  # an idx file of 5 rows of 4 zeros
TABLE = np.random.RandomState(0).standard_normal((500, 3))


def write(path: Path, table: np.ndarray) -> str:
    if path.suffix == ".npy":
        np.save(path, table)
    elif path.suffix == ".npz":
        np.savez(path, table)
    elif path.name.startswith("bare"):
        pd.DataFrame(table).to_csv(path, index=False, header=False)
    else:
        pd.DataFrame(table, columns=[f"x{i}" for i in range(table.shape[1])]).to_csv(path, index=False)
    return str(path)


def load(path: str | Path, **options: object) -> trilemma.Splits:
    return File(File.Config(path=str(path), **options)).splits


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "bare.csv", "bare.csv.gz"])
def test_a_table_comes_back_whole_whatever_its_format(tmp_path: Path, name: str) -> None:
    splits = load(write(tmp_path / name, TABLE))
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [350, 50, 100]
    every = torch.cat([splits.train, splits.valid, splits.test]).numpy()
    order = every[:, 0].argsort()
    np.testing.assert_allclose(every[order], TABLE[TABLE[:, 0].argsort()], rtol=1e-6)


def test_splits_follow_the_seed_and_the_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", TABLE)
    assert torch.equal(load(path).test, load(path).test)
    assert not torch.equal(load(path, split_seed=1).test, load(path).test)
    ordered = load(path, shuffle=False)
    assert torch.equal(ordered.train, torch.from_numpy(TABLE[:350]).float())


def test_the_card_does_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.npy", TABLE), write(tmp_path / "b.csv", TABLE.astype(np.float32))
    assert File(File.Config(path=one)).checksum == File(File.Config(path=other)).checksum


def with_value(value: float) -> np.ndarray:
    table = TABLE.copy()
    table[[7, 9], 1] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.full((500, 3), 3.0), r"no column can be used. columns left out: '0' \(constant\)"),
        (TABLE[:49], "too few rows: 49; at least 50"),
        (TABLE.reshape(-1), r"shape \(1500,\), but a table"),
        (TABLE.reshape(50, 10, 3), r"shape \(50, 10, 3\), but a table"),
        (np.full((500, 2), "word"), "numbers are needed"),
        (np.where(np.arange(1500).reshape(500, 3) % 2, TABLE, np.nan), "500 of 500 rows have a missing"),
    ],
)
def test_a_bad_table_is_refused_with_what_and_where(tmp_path: Path, table: np.ndarray, message: str) -> None:
    path = write(tmp_path / "bad.npy", table)
    with pytest.raises(trilemma.DataError, match=message) as caught:
        load(path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.full(500, 3.0), "constant"),
        (1e9 + np.linspace(0, 1, 500), "differences that 32-bit floats cannot hold"),
        (TABLE[:, 0] * 1e300, "values beyond the range of 32-bit floats"),
        (np.arange(500), "it counts the rows"),
        (np.arange(1, 501), "it counts the rows"),
        (TABLE[:, 1], "it repeats '1'"),
        (np.where(np.arange(500) % 3, np.nan, TABLE[:, 0]), "67% of its values are missing"),
    ],
)
def test_a_useless_column_is_left_out_and_named(tmp_path: Path, column: np.ndarray, reason: str) -> None:
    path = write(tmp_path / "a.npy", np.column_stack([TABLE, column]))
    dataset = File(File.Config(path=path))
    assert dataset.shape == (3,)
    assert dataset.coordinates() == ("0", "1", "2")
    assert f"column left out: '3' ({reason}" in " ".join(dataset.remarks())
    with pytest.raises(trilemma.DataError, match="column '3' cannot be used"):
        load(path, columns=["0", "1", "2", "3"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_with_missing_values_are_left_out_and_counted(tmp_path: Path, value: float) -> None:
    dataset = File(File.Config(path=write(tmp_path / "a.npy", with_value(value)), shuffle=False))
    assert sum(map(len, (dataset.splits.train, dataset.splits.valid, dataset.splits.test))) == 498
    np.testing.assert_array_equal(dataset.splits.train[7].numpy(), TABLE[8].astype(np.float32))
    assert "2 of 500 rows left out, because values are missing, infinite or unreadable in '1' (2)" in str(
        dataset.remarks()
    )


def test_a_column_constant_in_the_training_rows_alone_is_left_out(tmp_path: Path) -> None:
    dataset = File(
        File.Config(path=write(tmp_path / "a.npy", np.column_stack([TABLE, np.arange(500) > 450])), shuffle=False)
    )
    assert dataset.shape == (3,)
    assert "'3' (constant in the training rows)" in str(dataset.remarks())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"not an array", "not a plain array"),
        ("a.npz", b"not an archive", "not an archive"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "not a readable CSV file .*line 3"),
        ("a.csv", b"\x00\x01\x02", "binary data and no text"),
        ("a.xlsx", b"PK\x03\x04", "unknown kind of file"),
        ("a", b"PK\x03\x04\x00", "unknown kind of file"),
        ("a-ubyte", b"\x89PNG1234", "not an idx file"),
        ("a-ubyte", IDX[:-1], r"idx file of shape \(5, 4\) has 32"),
        # Without the time: two workers collect this id, at two times.
        ("a-ubyte.gz", gzip.compress(IDX, mtime=0)[:-9], "damaged gzip"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(trilemma.DataError, match=message):
        load(tmp_path / name)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object))
    np.savez(tmp_path / "a.npz", np.array([{"x": 1}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(trilemma.DataError, match="plain array"):
            load(tmp_path / name)


def test_one_of_several_arrays_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=TABLE, y=TABLE[:, :2])
    with pytest.raises(trilemma.DataError, match=r"several arrays \(x, y\)"):
        load(tmp_path / "a.npz")
    with pytest.raises(trilemma.DataError, match="no array 'z'"):
        load(tmp_path / "a.npz", key="z")
    assert load(tmp_path / "a.npz", key="y").train.shape == (350, 2)


def test_no_path_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(trilemma.DataError, match="option 'path'"):
        load("")
    with pytest.raises(trilemma.DataError, match=r"nowhere\.npy: no such file"):
        load(tmp_path / "nowhere.npy")


def test_fractions_must_leave_training_data() -> None:
    with pytest.raises(ValidationError, match="leave no training data"):
        File.Config(valid_fraction=0.5, test_fraction=0.5)


def test_parquet_is_read_or_the_extra_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        pd.DataFrame(TABLE, columns=["a", "b", "c"]).to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(trilemma.DataError, match=r"trilemma\[data\]"):
            load(path)
    else:
        assert load(path).train.shape == (350, 3)
