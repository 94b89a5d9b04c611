"""A table out of a pickled pandas frame, without running what the pickle asks for.

A pickle can name any function to be called on loading. Here pandas' classes become inert records and only NumPy's
array constructors are real; every other name is refused. The columns are then read out of the records.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError

_ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _Record:
    """Stands for an object of pandas: what it was made from and its state."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Record:
        record = super().__new__(cls)
        record.args = args
        record.state = None
        return record

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "pandas":
            return _Record
        if (module, name) in _ARRAYS:
            return super().find_class(module.replace("numpy.core", "numpy._core") if _new_numpy() else module, name)
        if name == "slice" and module in ("builtins", "__builtin__"):
            return slice
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise DataError(f"the pickle asks for {module}.{name}, which a table does not need: refused")


def _new_numpy() -> bool:
    return int(np.__version__.split(".")[0]) >= 2


def _encode(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise DataError(f"the pickle holds bytes in encoding {encoding}: refused")
    return text.encode(encoding)


def read_pickled_frame(path: Path) -> dict[str, NDArray[np.float64]]:
    """The numeric columns of a pickled pandas frame by name, in order. Raises DataError."""
    try:
        with path.open("rb") as file:
            frame = _Unpickler(file, encoding="latin1").load()
        manager = frame.state.get("_mgr") or frame.state["_data"]
        return _columns(manager)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # a pickle may fail in any way: all mean that it is not what we read
        raise DataError(f"{path}: not a pickled table that can be read ({type(error).__name__}: {error})") from error


def _columns(manager: _Record) -> dict[str, NDArray[np.float64]]:
    """The columns of a block manager, in the layout of pandas 0.14.1 to 1.2 or in the later one."""
    if manager.state:
        layout = manager.state[3]["0.14.1"]
        axis, blocks = layout["axes"][0], [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
    else:
        blocks = [(block.args[0], _places(block.args[1])) for block in manager.args[0]]
        axis = manager.args[1][0]
    names = [str(name) for name in axis.args[1]["data"]]
    found: dict[int, NDArray[np.float64]] = {}
    for values, places in blocks:
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
            for place, row in zip(np.arange(len(names))[places], values, strict=True):
                found[int(place)] = row.astype(np.float64)
    return {names[place]: found[place] for place in sorted(found)}


def _places(placement: Any) -> Any:
    """The positions of a block's columns: a slice or an array, also inside a record."""
    return placement.args[0] if isinstance(placement, _Record) else placement
