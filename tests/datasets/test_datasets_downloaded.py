"""Downloaded images and tables: the real loading code on small files in the original formats."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import trilemma
from trilemma.datasets import california, cifar
from trilemma.datasets.archives import extracted
from trilemma.datasets.download import RemoteFile
from trilemma.datasets.mnist import Kmnist

Serve = Callable[[str, bytes], RemoteFile]


def test_kmnist(serve: Serve, monkeypatch: pytest.MonkeyPatch, sizes: Callable[..., list[int]]) -> None:
    images = np.random.RandomState(0).randint(0, 256, (60, 28, 28)).astype(np.uint8)
    remote = {}
    for name, part in (("train-images-idx3-ubyte", images[:50]), ("t10k-images-idx3-ubyte", images[50:])):
        content = struct.pack(">4B3I", 0, 0, 8, 3, len(part), 28, 28) + part.tobytes()
        remote[name] = serve(name + ".gz", gzip.compress(content))
    monkeypatch.setattr(Kmnist, "remote", remote)
    dataset = Kmnist(Kmnist.Config(n_valid=10))
    assert sizes(dataset) == [40, 10, 10]
    np.testing.assert_array_equal(dataset.splits.test[:, 0], images[50:])
    with pytest.raises(trilemma.DataError, match="n_valid=5000 is too large for 50"):
        Kmnist().load()


def test_cifar10(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tar_of: Callable[..., bytes], sizes: Callable[..., list[int]]
) -> None:
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


def test_california_housing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tar_of: Callable[..., bytes], sizes: Callable[..., list[int]]
) -> None:
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


def test_archive_members_outside_their_place_and_links_are_not_written(serve: Serve, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("../../escaped")
        tar.addfile(info, io.BytesIO())
        link = tarfile.TarInfo("wanted")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(trilemma.DataError, match="holds no wanted"):
        extracted(serve("evil.tar.gz", stream.getvalue()), ("wanted",))
    assert not [path for path in tmp_path.rglob("*") if path.name in ("escaped", "wanted")]


def test_a_damaged_archive_is_an_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(california, "ARCHIVE", serve("a.tgz", b"\x1f\x8b rubbish"))
    with pytest.raises(trilemma.DataError, match="cannot be unpacked"):
        california.CaliforniaHousing().load()
