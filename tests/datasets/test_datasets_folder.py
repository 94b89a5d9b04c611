"""A folder of images as strangers have them: of any size and mode, damaged, or made to fill the memory."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import trilemma
from trilemma.datasets import folder_cache
from trilemma.datasets.files import ImageFile

N = 60


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "trilemma" / "images"


def read(folder: Path, **options: object) -> ImageFile:
    """The dataset of a folder, in the order of its files."""
    return ImageFile(ImageFile.Config(path=str(folder), shuffle=False, **options))


def gray(folder: Path, size: tuple[int, int] = (8, 8), n: int = N) -> np.ndarray:
    """Write gray images, and return them."""
    images = np.random.RandomState(0).randint(0, 256, (n, *size[::-1])).astype(np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return images


def test_small_equal_images_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    images = gray(tmp_path / "deep")
    dataset = read(tmp_path)
    assert dataset.shape == (1, 8, 8)
    np.testing.assert_array_equal(dataset.splits.train[:, 0].numpy(), images[:42])
    assert dataset.remarks() == ("60 images of 8 x 8 are used",)


def test_images_of_several_sizes_become_equal_squares(tmp_path: Path) -> None:
    gray(tmp_path, (8, 8))
    Image.fromarray(np.tile(np.repeat([0, 200, 0], 100).astype(np.uint8), (100, 1))).save(tmp_path / "zzz.png")
    dataset = read(tmp_path, size=4)
    assert dataset.shape == (1, 4, 4)
    assert (dataset.splits.test[-1] == 200).all()  # the middle of the wide image
    assert "images of 8 x 8 to 300 x 100 pixels were cropped" in str(dataset.remarks())
    assert read(tmp_path).shape == (1, 32, 32)


def test_one_colored_image_makes_all_colored(tmp_path: Path) -> None:
    images = gray(tmp_path)
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(tmp_path / "zzz.png")
    dataset = read(tmp_path)
    assert dataset.shape == (3, 8, 8)
    np.testing.assert_array_equal(dataset.splits.train[0].numpy(), np.stack([images[0]] * 3))
    assert dataset.splits.test[-1, :, 0, 0].tolist() == [255, 0, 0]


def test_damaged_files_are_left_out_and_named(tmp_path: Path) -> None:
    gray(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "half.png").write_bytes((tmp_path / "000.png").read_bytes()[:60])
    dataset = read(tmp_path)
    assert "2 files cannot be read as images, such as bad.png" in str(dataset.remarks())
    for number in range(6):
        (tmp_path / f"bad{number}.jpg").write_bytes(b"no")
    with pytest.raises(trilemma.DataError, match="8 files cannot be read"):
        read(tmp_path).load()


def bomb(side: int) -> bytes:
    """A PNG file of a few kilobytes that claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_an_image_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path, side: int) -> None:
    gray(tmp_path)
    (tmp_path / "aaa.png").write_bytes(bomb(side))
    dataset = read(tmp_path)
    assert len(dataset.splits.train) == 42
    assert "1 file cannot be read as images, such as aaa.png" in str(dataset.remarks())


def test_pipes_and_lost_links_are_no_images_and_links_are(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    gray(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for file in (tmp_path / "real").iterdir():
        (tmp_path / "linked" / file.name).symlink_to(file)
    os.mkfifo(tmp_path / "linked" / "pipe.png")
    (tmp_path / "linked" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "linked" / "circle").symlink_to(tmp_path / "linked")
    assert read(tmp_path / "linked").checksum == read(tmp_path / "real").checksum


def test_the_stamp_sees_changes_in_folders_inside(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    gray(tmp_path / "deep", n=2)
    before = read(tmp_path).stamp()
    Image.new("L", (9, 9)).save(tmp_path / "deep" / "001.png")
    assert before
    assert read(tmp_path).stamp() != before


def test_images_are_decoded_once_until_they_change(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray(tmp_path, (100, 100))
    first = read(tmp_path)
    remarks, checksum = first.remarks(), first.checksum
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(folder_cache, "read_folder", None)  # it is not called
        assert (read(tmp_path).remarks(), read(tmp_path).checksum) == (remarks, checksum)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert read(tmp_path).checksum == checksum
    Image.new("L", (100, 100), 7).save(tmp_path / "000.png")
    assert read(tmp_path).checksum != checksum
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, cache: Path) -> None:
    gray(tmp_path)
    cache.parent.parent.joinpath("trilemma").write_text("in the way")
    assert len(read(tmp_path).splits.train) == 42


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(trilemma.DataError, match="no images"):
        read(tmp_path).load()
