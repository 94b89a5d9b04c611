"""What the tests of datasets share: a server of small files, and files in the formats of real ones."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import trilemma
from trilemma.datasets.download import RemoteFile

Serve = Callable[[str, bytes], RemoteFile]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Puts content on a server and describes it; downloads are allowed, into a cache of the test's own."""
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("TRILEMMA_DOWNLOAD", "1")
    (tmp_path / "www").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def put(name: str, content: bytes) -> RemoteFile:
        (tmp_path / "www" / name).write_bytes(content)
        url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
        return RemoteFile(f"set/{name}", (url,), f"md5:{hashlib.md5(content).hexdigest()}")

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """The idx file of an array of bytes."""

    def write(array: np.ndarray) -> bytes:
        return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()

    return write


@pytest.fixture
def tar_of() -> Callable[..., bytes]:
    """An archive of members by their names: `tar_of(members, prefix="")`."""

    def pack(members: dict[str, bytes], prefix: str = "") -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(prefix + name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return stream.getvalue()

    return pack


@pytest.fixture
def sizes() -> Callable[[trilemma.Dataset], list[int]]:
    """Rows of the training, validation and test split."""

    def count(dataset: trilemma.Dataset) -> list[int]:
        splits = dataset.splits
        return [len(splits.train), len(splits.valid), len(splits.test)]

    return count


class Global:
    """A name that a pickle asks for."""

    def __init__(self, module: str, name: str) -> None:
        self.line = f"c{module}\n{name}\n".encode()


class Made:
    """An object that a pickle makes of a global by a call, and then gives a state."""

    def __init__(self, what: Global, args: tuple[Any, ...], state: Any = None) -> None:
        self.what, self.args, self.state = what, args, state


class HandPickler(pickle._Pickler):
    """Writes pickles of classes that are not there."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_name(self, obj: Global) -> None:
        self.write(obj.line)

    def save_made(self, obj: Made) -> None:
        self.save(obj.what)
        self.save(obj.args)
        self.write(pickle.REDUCE)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    dispatch[Global] = save_name
    dispatch[Made] = save_made


def hand_pickled(obj: object) -> bytes:
    stream = io.BytesIO()
    HandPickler(stream, protocol=2).dump(obj)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def old_frame(columns: dict[str, np.ndarray]) -> bytes:
    """A frame in the layout that pandas used from 0.14.1 on, with its columns in two blocks."""

    def index(labels: np.ndarray) -> Made:
        return Made(
            Global("pandas.core.indexes.base", "_new_Index"),
            (Global("pandas.core.indexes.base", "Index"), {"data": labels, "name": None}),
        )

    names, values = np.array(list(columns), dtype=object), np.stack(list(columns.values()))
    axes = [index(names), index(np.arange(values.shape[1]))]
    blocks = [
        {"values": values[0::2], "mgr_locs": slice(0, len(names), 2)},
        {"values": values[1::2], "mgr_locs": np.arange(1, len(names), 2)},
    ]
    state = (axes, [b["values"] for b in blocks], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    manager = Made(Global("pandas.core.internals", "BlockManager"), (), state)
    frame_state = {"_data": manager, "_typ": "dataframe", "_metadata": []}
    return hand_pickled(Made(Global("pandas.core.frame", "DataFrame"), (), frame_state))


@pytest.fixture
def pickles() -> SimpleNamespace:
    """Pickles by hand: `Global(module, name)`, `Made(what, args, state)`, `dump(obj)`, `old_frame(columns)`."""
    return SimpleNamespace(Global=Global, Made=Made, dump=hand_pickled, old_frame=old_frame)


@pytest.fixture
def gas_columns() -> dict[str, np.ndarray]:
    """Columns as in the file of gas sensors."""
    n, state = 400, np.random.RandomState(0)
    base = state.standard_normal((4, n))
    columns = {"Time": np.arange(n) / 100.0, "Meth": state.uniform(size=n), "Eth": state.uniform(size=n)}
    for i in range(7):  # sensors 0, 4 and 1, 5 and 2, 6 are nearly the same
        columns[f"R{i}"] = base[i % 4] + 0.01 * state.standard_normal(n)
    return columns
