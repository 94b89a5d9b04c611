"""The downloaded sets: the real loading code on small files in the original formats, served by a loopback server."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trilemma
from trilemma.datasets import california, cifar, tabular
from trilemma.datasets.download import RemoteFile
from trilemma.datasets.frames import read_pickled_frame
from trilemma.datasets.mnist import Kmnist

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


def tar_of(members: dict[str, bytes], prefix: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def sizes(dataset: trilemma.Dataset) -> list[int]:
    splits = dataset.splits
    return [len(splits.train), len(splits.valid), len(splits.test)]


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


def gas_columns(n: int = 400) -> dict[str, np.ndarray]:
    state = np.random.RandomState(0)
    base = state.standard_normal((4, n))
    columns = {"Time": np.arange(n) / 100.0, "Meth": state.uniform(size=n), "Eth": state.uniform(size=n)}
    for i in range(7):  # sensors 0, 4 and 1, 5 and 2, 6 are nearly the same
        columns[f"R{i}"] = base[i % 4] + 0.01 * state.standard_normal(n)
    return columns


def test_a_pickled_frame_of_the_old_layout_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.pickle").write_bytes(old_frame(gas_columns()))
    columns = read_pickled_frame(tmp_path / "f.pickle")
    assert list(columns) == list(gas_columns())
    for name, values in gas_columns().items():
        np.testing.assert_array_equal(columns[name], values)


def test_a_pickled_frame_of_todays_pandas_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(gas_columns())
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    frame.to_pickle(tmp_path / "f.pickle")
    columns = read_pickled_frame(tmp_path / "f.pickle")
    for name, values in gas_columns().items():
        np.testing.assert_array_equal(columns[name], values)


@pytest.mark.parametrize(
    "what",
    [
        Global("os", "system"),
        Global("posix", "system"),
        Global("builtins", "eval"),
        Global("__builtin__", "exec"),
        Global("numpy", "load"),
        Global("pickle", "loads"),
    ],
    ids=lambda what: what.line.decode().split()[-1],
)
def test_a_pickle_that_asks_for_more_than_a_table_is_refused(tmp_path: Path, what: Global) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "evil.pickle"
    path.write_bytes(hand_pickled({"_data": Made(what, (f"touch {mark}",))}))
    with pytest.raises(trilemma.DataError, match="refused"):
        read_pickled_frame(path)
    assert not mark.exists()


def test_what_pandas_names_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "evil.pickle"
    call = Made(Global("pandas.io.common", "os.system"), (f"touch {mark}",))
    reader = Made(Global("pandas", "read_pickle"), (str(tmp_path / "other.pickle"),))
    path.write_bytes(hand_pickled([call, reader]))
    with pytest.raises(trilemma.DataError, match="not a pickled table"):
        read_pickled_frame(path)
    assert not mark.exists()


@pytest.fixture
def maf(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small MAF archive on the server; the raw tables in it."""
    state = np.random.RandomState(1)
    train = np.column_stack([state.randint(0, 2, 300), state.standard_normal((300, 4))])
    train[:50, 2] = -9  # the smallest value of the second feature repeats
    test = np.column_stack([state.randint(0, 2, 100), state.standard_normal((100, 4)), np.full(100, 1000.0)])
    raw = {
        "power": state.uniform(0, 100, (500, 8)).round(3),
        "miniboone": state.standard_normal((200, 5)),
        "train": train,
        "test": test,
    }
    headers = ("label,a,b,c,d", "label,a,b,c,d,mass")
    tables = [pd.DataFrame(raw[part], columns=h.split(",")) for part, h in zip(("train", "test"), headers, strict=True)]
    members = {
        "data/power/data.npy": npy(raw["power"]),
        "data/gas/ethylene_CO.pickle": old_frame(gas_columns()),
        "data/hepmass/1000_train.csv": tables[0].to_csv(index=False).encode(),
        "data/hepmass/1000_test.csv": tables[1].to_csv(index=False).encode(),
        "data/miniboone/data.npy": npy(raw["miniboone"]),
    }
    monkeypatch.setattr(tabular, "ARCHIVE", serve("data.tar.gz", tar_of(members, "./")))
    return raw


def test_power(maf: dict[str, Any]) -> None:
    dataset = tabular.Power()
    assert dataset.shape == (6,)
    assert sizes(dataset) == [405, 45, 50]
    every = torch.cat([dataset.splits.train, dataset.splits.valid]).double().numpy()
    np.testing.assert_allclose(every.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(every.std(0), 1, atol=1e-6)
    # undone, the rows are those of the shuffled file within the noise, and the time exactly
    order = np.random.RandomState(42)
    shuffled = maf["power"].copy()
    order.shuffle(shuffled)
    kept = shuffled[:, [0, 2, 4, 5, 6, 7]]
    rows = np.concatenate([every, dataset.splits.test.double().numpy()])
    for column, noise in enumerate((0.001, 0.01, 1, 1, 1, 0)):
        slope, offset = np.polyfit(rows[:, column], kept[:, column] + noise / 2, 1)
        error = slope * rows[:, column] + offset - kept[:, column]
        assert -0.15 * noise - 1e-3 < error.min()
        assert error.max() < 1.15 * noise + 1e-3
        assert error.max() - error.min() > 0.9 * noise


def test_gas(maf: dict[str, Any]) -> None:
    dataset = tabular.Gas()
    frame = pd.DataFrame(gas_columns()).drop(columns=["Time", "Meth", "Eth", "R0", "R1", "R2"])
    wanted = ((frame - frame.mean()) / frame.std()).to_numpy()
    assert sizes(dataset) == [324, 36, 40]
    every = torch.cat([dataset.splits.train, dataset.splits.valid, dataset.splits.test])
    np.testing.assert_allclose(every, wanted, atol=1e-5)


def test_hepmass(maf: dict[str, Any]) -> None:
    dataset = tabular.Hepmass()
    train = pd.DataFrame(maf["train"])
    train = train[train[0] == 1].drop(columns=0)
    test = pd.DataFrame(maf["test"])
    test = test[test[0] == 1].drop(columns=[0, 5])
    mean, scale = train.mean(), train.std()
    train, test = ((train - mean) / scale).drop(columns=2), ((test - mean) / scale).drop(columns=2)
    n_valid = int(0.1 * len(train))
    assert sizes(dataset) == [len(train) - n_valid, n_valid, len(test)]
    np.testing.assert_allclose(torch.cat([dataset.splits.train, dataset.splits.valid]), train, atol=1e-5)
    np.testing.assert_allclose(dataset.splits.test, test, atol=1e-5)


def test_miniboone(maf: dict[str, Any]) -> None:
    dataset = tabular.Miniboone()
    raw = maf["miniboone"]
    assert sizes(dataset) == [162, 18, 20]
    np.testing.assert_allclose(dataset.splits.test, (raw[180:] - raw[:180].mean(0)) / raw[:180].std(0), atol=1e-5)


def test_bsds300_names_the_extra_or_is_as_stored(maf: dict[str, Any], serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(trilemma.DataError, match=r"holds no data/BSDS300/BSDS300\.hdf5"):
        tabular.Bsds300().load()
    path = tmp_path / "cache" / "set" / "extracted" / "data" / "BSDS300" / "BSDS300.hdf5"
    path.parent.mkdir(parents=True)
    try:
        import h5py
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(trilemma.DataError, match="needs the package h5py"):
            tabular.Bsds300().load()
        return
    x = np.random.RandomState(0).standard_normal((30, 63))
    with h5py.File(path, "w") as file:
        for part, rows in (("train", x[:10]), ("validation", x[10:20]), ("test", x[20:])):
            file[part] = rows
    np.testing.assert_allclose(tabular.Bsds300().splits.valid, x[10:20], rtol=1e-6)


def test_members_are_extracted_once_and_then_need_neither_archive_nor_network(
    maf: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tabular.Miniboone().load()
    tabular.ARCHIVE.path().unlink()
    monkeypatch.delenv("TRILEMMA_DOWNLOAD")
    assert sizes(tabular.Miniboone()) == [162, 18, 20]
    with pytest.raises(trilemma.DataError, match="downloads were not asked for"):
        tabular.Power().load()


def test_archive_members_outside_their_place_and_links_are_not_written(serve: Serve, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("../../escaped")
        tar.addfile(info, io.BytesIO())
        link = tarfile.TarInfo("wanted")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    from trilemma.datasets.archives import extracted

    with pytest.raises(trilemma.DataError, match="holds no wanted"):
        extracted(serve("evil.tar.gz", stream.getvalue()), ("wanted",))
    assert not [path for path in tmp_path.rglob("*") if path.name in ("escaped", "wanted")]


def test_a_damaged_archive_is_an_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(california, "ARCHIVE", serve("a.tgz", b"\x1f\x8b rubbish"))
    with pytest.raises(trilemma.DataError, match="cannot be unpacked"):
        california.CaliforniaHousing().load()


def test_kmnist(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.RandomState(0).randint(0, 256, (60, 28, 28)).astype(np.uint8)
    remote = {}
    for name, part in (("train-images-idx3-ubyte", images[:50]), ("t10k-images-idx3-ubyte", images[50:])):
        content = struct.pack(">4B3I", 0, 0, 8, 3, len(part), 28, 28) + part.tobytes()
        remote[name] = serve(name + ".gz", gzip.compress(content))
    monkeypatch.setattr(Kmnist, "remote", remote)
    dataset = Kmnist(Kmnist.Config(n_valid=10))
    assert sizes(dataset) == [40, 10, 10]
    np.testing.assert_array_equal(dataset.splits.test[:, 0], images[50:])
    with pytest.raises(trilemma.DataError, match="n_valid=5000 of 50"):
        Kmnist().load()


def test_cifar10(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    state = np.random.RandomState(0)
    batches = {name: state.randint(0, 256, (20, 3073)).astype(np.uint8) for name in cifar._BATCHES}
    members = {f"cifar-10-batches-bin/{name}": batch.tobytes() for name, batch in batches.items()}
    monkeypatch.setattr(cifar, "ARCHIVE", serve("cifar.tar.gz", tar_of(members)))
    plain, doubled = (cifar.Cifar10(cifar.Cifar10.Config(n_valid=10, flip=flip)) for flip in (False, True))
    assert plain.shape == (3, 32, 32)
    assert sizes(plain) == [90, 10, 20]
    assert sizes(doubled) == [180, 10, 20]
    wanted = batches["test_batch.bin"][3, 1:].reshape(3, 32, 32)
    np.testing.assert_array_equal(plain.splits.test[3], wanted)
    assert torch.equal(doubled.splits.train[90:], plain.splits.train.flip(3))


def test_cifar10_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(os.urandom(3072))
    with pytest.raises(trilemma.DataError, match="not a whole number of records"):
        cifar.read_batch(tmp_path / "b.bin")


def test_california_housing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.random.RandomState(0).uniform(1, 50, (100, 9)).round(4)
    raw[0] = [-122.23, 37.88, 41, 880, 129, 322, 126, 8.3252, 452600]  # the first row of the set
    lines = "\n".join(",".join(map(str, row)) for row in raw)
    archive = tar_of({"CaliforniaHousing/cal_housing.data": lines.encode()})
    monkeypatch.setattr(california, "ARCHIVE", serve("cal_housing.tgz", archive))
    dataset = california.CaliforniaHousing()
    assert sizes(dataset) == [70, 10, 20]
    every = torch.cat([dataset.splits.train, dataset.splits.valid, dataset.splits.test])
    # as in scikit-learn's documentation of its fetcher
    first = torch.tensor([8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23])
    assert torch.isclose(every, first, rtol=1e-6).all(1).sum() == 1
