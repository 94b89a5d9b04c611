"""Pickled frames: the tables in them are read, and nothing that they name is run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import trilemma
from trilemma.datasets.frames import read_pickled_frame


def test_a_pickled_frame_of_the_old_layout_is_read(
    tmp_path: Path, pickles: SimpleNamespace, gas_columns: dict[str, np.ndarray]
) -> None:
    (tmp_path / "f.pickle").write_bytes(pickles.old_frame(gas_columns))
    columns = read_pickled_frame(tmp_path / "f.pickle")
    assert list(columns) == list(gas_columns)
    for name, values in gas_columns.items():
        np.testing.assert_array_equal(columns[name], values)


def test_a_pickled_frame_of_todays_pandas_is_read(tmp_path: Path, gas_columns: dict[str, np.ndarray]) -> None:
    frame = pd.DataFrame(gas_columns)
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    frame.to_pickle(tmp_path / "f.pickle")
    columns = read_pickled_frame(tmp_path / "f.pickle")
    for name, values in gas_columns.items():
        np.testing.assert_array_equal(columns[name], values)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("os", "system"), ("posix", "system"), ("builtins", "eval")),
        *(("__builtin__", "exec"), ("numpy", "load"), ("pickle", "loads")),
    ],
)
def test_a_pickle_that_asks_for_more_than_a_table_is_refused(
    tmp_path: Path, pickles: SimpleNamespace, module: str, name: str
) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "evil.pickle"
    call = pickles.Made(pickles.Global(module, name), (f"touch {mark}",))
    path.write_bytes(pickles.dump({"_data": call}))
    with pytest.raises(trilemma.DataError, match="not loaded"):
        read_pickled_frame(path)
    assert not mark.exists()


def test_what_pandas_names_in_a_pickle_is_never_run(tmp_path: Path, pickles: SimpleNamespace) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "evil.pickle"
    call = pickles.Made(pickles.Global("pandas.io.common", "os.system"), (f"touch {mark}",))
    reader = pickles.Made(pickles.Global("pandas", "read_pickle"), (str(tmp_path / "other.pickle"),))
    path.write_bytes(pickles.dump([call, reader]))
    with pytest.raises(trilemma.DataError, match="not a pickled table"):
        read_pickled_frame(path)
    assert not mark.exists()
