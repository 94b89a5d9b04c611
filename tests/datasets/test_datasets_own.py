"""`--data PATH`: what a path is taken for, and files that must not be opened, unpacked or run."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trilemma
from trilemma.datasets import bounded
from trilemma.datasets.files import File
from trilemma.datasets.own import entry

TABLE = np.random.RandomState(0).standard_normal((60, 2))


def folder(path: Path) -> None:
    path.mkdir()
    Image.new("L", (4, 4)).save(path / "a.PNG")


MAKERS: dict[str, Callable[[Path], object]] = {
    "wine.csv": lambda path: path.write_text("a,b\n1,2\n"),
    "wine.CSV.gz": lambda path: path.write_bytes(gzip.compress(b"a,b\n1,2\n")),
    "wine.tsv": lambda path: path.write_text("a\tb\n1\t2\n"),
    "wine.data": lambda path: path.write_text("1,2\n"),
    "wine": lambda path: path.write_text("1,2\n"),
    "my.best wine.csv": lambda path: path.write_text("1,2\n"),
    "table.npy": lambda path: np.save(path, TABLE),
    "table.npz": lambda path: np.savez(path, TABLE),
    "pictures.npy": lambda path: np.save(path, np.zeros((60, 4, 4), np.uint8)),
    "pictures.npz": lambda path: np.savez(path, np.zeros((60, 4, 4, 3), np.uint8)),
    "t10k-images-idx3-ubyte": lambda path: path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2) + bytes(4)),
    "rows.idx.gz": lambda path: path.write_bytes(gzip.compress(struct.pack(">4B2I", 0, 0, 8, 2, 1, 2) + bytes(2))),
    "my images": folder,
}
KINDS = {
    "pictures.npy": ("image-file", "pictures"),
    "pictures.npz": ("image-file", "pictures"),
    "t10k-images-idx3-ubyte": ("image-file", "t10k-images-idx3"),
    "my images": ("image-file", "my images"),
    "my.best wine.csv": ("file", "my.best wine"),
    "wine.CSV.gz": ("file", "wine"),
    "rows.idx.gz": ("file", "rows"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_path_is_taken_for_what_is_in_it(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    kind, label = KINDS.get(name, ("file", name.split(".")[0]))
    assert entry(tmp_path / name) == {"name": kind, "label": label, "config": {"path": str(tmp_path / name)}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("a.png", b"\x89PNG", "name the folder of the images"),
        ("a.npy", b"no", "not a plain array"),
        ("a.npz", b"no", "not an archive"),
        ("a.idx", b"no", "not an idx file"),
    ],
)
def test_files_that_cannot_be_used_say_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(trilemma.DataError, match=message):
        entry(tmp_path / name)


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a.pkl", "a.zip", "noname"])
def test_other_kinds_are_left_to_other_plugins(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04\x00")
    assert entry(tmp_path / name) is None


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    for place in (tmp_path / "a.csv", Path("/dev/zero")):
        with pytest.raises(trilemma.DataError, match="no regular file"):
            entry(place)


class Trap:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_are_never_loaded(tmp_path: Path, name: str) -> None:
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    (np.save if name.endswith("npy") else np.savez)(tmp_path / name, trap)
    assert b"mkdir" in (tmp_path / name).read_bytes() + pickle.dumps(0)
    for use in (entry, lambda path: File(File.Config(path=str(path))).load()):
        with pytest.raises(trilemma.DataError, match="Python objects, which are never loaded"):
            use(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("shape", ["(1000000000, 1000)", "(99, 2)", "(-1, 2)"])
def test_an_array_that_is_shorter_than_it_says_takes_no_memory(tmp_path: Path, shape: str) -> None:
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(100))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header(shape) + bytes(100))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(trilemma.DataError, match="the file is not complete"):
            File(File.Config(path=str(tmp_path / name))).load()


def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 50_000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 50_000))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header("(50000, 2)") + bytes(800_000))
    for name in ("a.csv.gz", "a.npz"):
        assert (tmp_path / name).stat().st_size < 5_000
        with pytest.raises(trilemma.DataError, match="unpacks to"):
            File(File.Config(path=str(tmp_path / name))).load()
    (tmp_path / "large.csv").write_bytes(b"1,2\n" * 50_000)
    with pytest.raises(trilemma.DataError, match="take a sample"):
        entry(tmp_path / "large.csv")
