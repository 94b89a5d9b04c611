"""The five tables of the MAF paper: the real preparation of a small archive in the original formats."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trilemma
from trilemma.datasets import tabular
from trilemma.datasets.download import RemoteFile

Serve = Callable[[str, bytes], RemoteFile]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture
def maf(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    gas_columns: dict[str, np.ndarray],
    pickles: SimpleNamespace,
    tar_of: Callable[..., bytes],
) -> dict[str, Any]:
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
        "data/gas/ethylene_CO.pickle": pickles.old_frame(gas_columns),
        "data/hepmass/1000_train.csv": tables[0].to_csv(index=False).encode(),
        "data/hepmass/1000_test.csv": tables[1].to_csv(index=False).encode(),
        "data/miniboone/data.npy": npy(raw["miniboone"]),
    }
    monkeypatch.setattr(tabular, "ARCHIVE", serve("data.tar.gz", tar_of(members, "./")))
    return raw


def test_power(maf: dict[str, Any], sizes: Callable[..., list[int]]) -> None:
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


def test_gas(maf: dict[str, Any], gas_columns: dict[str, np.ndarray], sizes: Callable[..., list[int]]) -> None:
    dataset = tabular.Gas()
    frame = pd.DataFrame(gas_columns).drop(columns=["Time", "Meth", "Eth", "R0", "R1", "R2"])
    wanted = ((frame - frame.mean()) / frame.std()).to_numpy()
    assert sizes(dataset) == [324, 36, 40]
    every = torch.cat([dataset.splits.train, dataset.splits.valid, dataset.splits.test])
    np.testing.assert_allclose(every, wanted, atol=1e-5)


def test_hepmass(maf: dict[str, Any], sizes: Callable[..., list[int]]) -> None:
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


def test_miniboone(maf: dict[str, Any], sizes: Callable[..., list[int]]) -> None:
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
    maf: dict[str, Any], monkeypatch: pytest.MonkeyPatch, sizes: Callable[..., list[int]]
) -> None:
    tabular.Miniboone().load()
    tabular.ARCHIVE.path().unlink()
    monkeypatch.delenv("TRILEMMA_DOWNLOAD")
    assert sizes(tabular.Miniboone()) == [162, 18, 20]
    with pytest.raises(trilemma.DataError, match="downloads were not asked for"):
        tabular.Power().load()
