"""Images: a user's own, idx files, and the folders that Fashion-MNIST may lie in."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import trilemma
from trilemma.datasets.digits import Digits
from trilemma.datasets.files import ImageFile
from trilemma.datasets.idx import parse_idx
from trilemma.datasets.mnist import FashionMnist

IMAGES = np.random.RandomState(0).randint(0, 256, (120, 6, 5)).astype(np.uint8)


def test_another_seed_splits_the_same_digits_otherwise() -> None:
    fixed, fresh = Digits().splits, Digits(Digits.Config(split_seed=1)).splits
    assert [len(part) for part in (fixed.train, fixed.valid, fixed.test)] == [1258, 269, 270]
    assert fixed.test.double().mean() == pytest.approx(4.864178, abs=1e-5)  # stored figures are of this split

    def images(*parts: torch.Tensor) -> set[bytes]:
        return {bytes(image.flatten().tolist()) for image in torch.cat(parts)}

    assert images(fixed.train, fixed.valid, fixed.test) == images(fresh.train, fresh.valid, fresh.test)
    assert len(images(fixed.test) & images(fresh.test)) < 100  # 270 of 1,797 in both: about 41


def test_images_come_back_whole_from_arrays_and_folders(tmp_path: Path, idx_bytes: Callable[..., bytes]) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a-ubyte").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i:03d}.png")
    datasets = [ImageFile(ImageFile.Config(path=str(tmp_path / name))) for name in ("a.npy", "a-ubyte", "folder")]
    assert len({dataset.checksum for dataset in datasets}) == 1
    splits = datasets[0].splits
    assert splits.train.shape == (84, 1, 6, 5)
    assert splits.train.dtype == torch.uint8
    every = torch.cat([splits.train, splits.valid, splits.test]).flatten(1).numpy()
    assert {row.tobytes() for row in every} == {image.tobytes() for image in IMAGES}


def test_color_images_become_channels_first(tmp_path: Path) -> None:
    color = np.random.RandomState(0).randint(0, 256, (100, 6, 5, 3))
    np.save(tmp_path / "a.npy", color)
    dataset = ImageFile(ImageFile.Config(path=str(tmp_path / "a.npy"), shuffle=False))
    assert dataset.shape == (3, 6, 5)
    np.testing.assert_array_equal(dataset.splits.train[0].numpy(), np.moveaxis(color[0], -1, 0))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES / 255.0, "whole numbers 0 to 255"),
        (IMAGES.astype(int) + 1, "whole numbers 0 to 255"),
        (IMAGES.reshape(120, -1), "is needed"),
        (IMAGES[:49], "too few images: 49"),
    ],
)
def test_bad_images_are_refused(tmp_path: Path, images: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(trilemma.DataError, match=message):
        _ = ImageFile(ImageFile.Config(path=str(tmp_path / "a.npy"))).splits


@given(
    st.sampled_from([(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
)
def test_idx_of_every_type_and_rank(kind: tuple[int, str], shape: list[int]) -> None:
    code, dtype = kind
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    content = struct.pack(f">4B{len(shape)}I", 0, 0, code, len(shape), *shape) + array.tobytes()
    read = parse_idx(content, "test")
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative


def idx_folder(folder: Path, ending: str, idx_bytes: Callable[..., bytes]) -> Path:
    folder.mkdir()
    for name, n in (("train-images-idx3-ubyte", 120), ("t10k-images-idx3-ubyte", 40)):
        content = idx_bytes(np.random.RandomState(n).randint(0, 256, (n, 28, 28)))
        (folder / (name + ending)).write_bytes(gzip.compress(content) if ending else content)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_fashion_mnist_from_a_folder(tmp_path: Path, ending: str, idx_bytes: Callable[..., bytes]) -> None:
    folder = idx_folder(tmp_path / "files", ending, idx_bytes)
    dataset = FashionMnist(FashionMnist.Config(folder=str(folder), n_valid=20))
    assert [tuple(p.shape) for p in (dataset.splits.train, dataset.splits.valid, dataset.splits.test)] == [
        (100, 1, 28, 28),
        (20, 1, 28, 28),
        (40, 1, 28, 28),
    ]
    assert dataset.card().levels == 256


def test_fashion_mnist_from_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idx_bytes: Callable[..., bytes]
) -> None:
    idx_folder(tmp_path / "fashion-mnist", ".gz", idx_bytes)
    monkeypatch.setattr(FashionMnist, "system_folders", (str(tmp_path / "*fashion*"),))
    assert len(FashionMnist(FashionMnist.Config(n_valid=20)).splits.test) == 40


def test_fashion_mnist_absent_says_where_to_get_and_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FashionMnist, "system_folders", ())
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path))
    monkeypatch.delenv("TRILEMMA_DOWNLOAD", raising=False)
    with pytest.raises(trilemma.DataError, match="is not there and downloads were not asked for") as caught:
        FashionMnist().load()
    for hint in ("--download", "http://", "md5:8d4f", str(tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz")):
        assert hint in str(caught.value)
    with pytest.raises(trilemma.DataError, match="no train-images-idx3-ubyte"):
        FashionMnist(FashionMnist.Config(folder=str(tmp_path))).load()
