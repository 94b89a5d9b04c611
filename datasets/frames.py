"""Reading the table in a pickled pandas frame without running arbitrary code.

A pickle can name any function to call when it is loaded. Here the classes of pandas become inert records, and only the
array constructors of NumPy are real. Every other name raises an error. The columns are then read from the records.
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
    """A stand-in for an object of pandas, with its constructor arguments and its state."""

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
        raise DataError(f"the pickle uses {module}.{name}, which a table does not need, so it was not loaded")


def _new_numpy() -> bool:
    return int(np.__version__.split(".")[0]) >= 2


def _encode(text: str, encoding: str) -> bytes:
    """Decode bytes in the form in which pickles of protocol 2 store them."""
    if encoding not in ("latin1", "latin-1"):
        raise DataError(f"the pickle holds bytes in the encoding {encoding}, so it was not loaded")
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
    except Exception as error:  # any error means that the file is not in a known format
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
    """The positions of the columns of a block: a slice or an array, which may be inside a record."""
    return placement.args[0] if isinstance(placement, _Record) else placement
