"""The run directory is never left unreadable: kills, full disks, garbage, two runs at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import trilemma
from trilemma.harness.store.store import Store


def _write_for_ever(path: str) -> None:
    store = Store(path)
    number = 0
    while True:
        number += 1
        store.commit("data", "one", {"number": number}, {"model": {"x": torch.full((200,), float(number))}})


def _write_own(path: str, name: str) -> None:
    for number in range(20):
        Store(path).commit("data", f"{name}-{number}", {"number": number})


def make(path: Path) -> Store:
    with Store(path).writing():
        pass
    return Store(path)


def test_a_kill_at_any_moment_leaves_a_whole_record(tmp_path: Path) -> None:
    store = make(tmp_path)
    context = multiprocessing.get_context("fork")
    for attempt in range(8):
        process = context.Process(target=_write_for_ever, args=(str(tmp_path),))
        process.start()
        time.sleep(0.05 + 0.013 * attempt)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        record, tensors = store.record("data", "one"), store.tensors("data", "one", "model")
        if record is not None:  # the kill may fall between the two renames: then the old folder is gone, not broken
            assert tensors is not None
            assert tensors["x"].eq(record["number"]).all()
    with store.writing():
        assert list((tmp_path / "tmp").iterdir()) == []


def test_concurrent_writers_keep_everything(tmp_path: Path) -> None:
    store = make(tmp_path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_own, args=(str(tmp_path), name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [store.record("data", f"{name}-{number}") for name in "abcd" for number in range(20)]
    assert all(record is not None for record in found)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.commit("data", "one", {"number": 2})
    record = store.record("data", "one")
    assert record is not None
    assert record["number"] == 1
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'{"outcome": '])
def test_garbage_counts_as_absent(content: bytes, tmp_path: Path) -> None:
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1}, {"model": {"x": torch.zeros(3)}})
    (tmp_path / "data" / "one" / "record.json").write_bytes(content)
    (tmp_path / "data" / "one" / "model.safetensors").write_bytes(content)
    assert store.record("data", "one") is None
    assert store.tensors("data", "one", "model") is None
    store.commit("data", "one", {"number": 2})
    record = store.record("data", "one")
    assert record is not None
    assert (record["format"], record["number"], record["files"]) == (3, 2, {})


def test_a_directory_without_a_run_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(trilemma.StoreError, match="no run directory"):
        trilemma.load_results(tmp_path / "nowhere")
    with pytest.raises(trilemma.StoreError, match="holds no run"):
        trilemma.load_results(tmp_path)


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(trilemma.StoreError, match="choose another with --out"),
        Store(tmp_path / "file" / "x").writing(),
    ):
        pass


FULL = """
import resource, signal, sys
import torch
from trilemma.harness.store.files import WriteError
from trilemma.harness.store.store import Store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    Store(sys.argv[1]).commit("data", "one", {"number": 2, "text": "x" * 3000}, {"model": {"x": torch.ones(2000)}})
except WriteError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 1000, 8000, 9000])
def test_a_write_that_fails_at_any_byte_changes_nothing(limit: int, tmp_path: Path) -> None:
    """A limit on the size of a file fails in the operating system, as a full disk does: in tensors, then in records."""
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1}, {"model": {"x": torch.zeros(2000)}})
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(limit)], capture_output=True, text=True, check=True, timeout=120
    )
    record, tensors = store.record("data", "one"), store.tensors("data", "one", "model")
    assert record is not None
    assert tensors is not None
    assert record["number"] == (2 if limit == 9000 else 1)
    assert tensors["x"].eq(record["number"] - 1).all()
    assert ("could not be written" in done.stdout) == (limit != 9000)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("failing", range(1, 4))
def test_a_rename_that_fails_brings_the_old_folder_back(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1})
    real, calls = os.rename, iter(range(1, 100))

    def rename(source: Path, target: Path) -> None:
        if next(calls) == failing:
            raise OSError(30, "Read-only file system")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    if failing == 3:  # a commit that succeeds renames twice
        store.commit("data", "one", {"number": 2})
    else:
        with pytest.raises(trilemma.StoreError, match="Read-only file system"):
            store.commit("data", "one", {"number": 2})
    record = store.record("data", "one")
    assert record is not None
    assert record["number"] == (2 if failing == 3 else 1)


def test_an_old_folder_that_a_kill_moved_away_comes_back(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1})
    store.commit("data", "two", {"number": 2})
    (tmp_path / "data" / "one").rename(tmp_path / "tmp" / "old-data-one-77")
    shutil.copytree(tmp_path / "data" / "two", tmp_path / "tmp" / "old-data-two-77")
    with store.writing():
        assert list((tmp_path / "tmp").iterdir()) == []
    assert [(store.record("data", name) or {}).get("number") for name in ("one", "two")] == [1, 2]


def test_files_of_somebody_else_in_a_replaced_folder_are_kept(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.commit("data", "one", {"number": 1})
    (tmp_path / "data" / "one" / "thesis.txt").write_text("three years of work")
    store.commit("data", "one", {"number": 2})
    assert (tmp_path / "aside" / "data-one-1" / "thesis.txt").read_text() == "three years of work"


def test_a_lock_that_a_killed_run_left_is_harmless(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / ".lock").write_text("4711")
    with (
        Store(tmp_path).writing(),
        pytest.raises(trilemma.StoreError, match="another run is using"),
        Store(tmp_path).writing(),
    ):
        pass
    with Store(tmp_path).writing():
        pass


@pytest.mark.parametrize("name", ["run.json", "run.json.bak"])
def test_a_list_that_cannot_be_written_is_an_error_and_the_old_one_stays(
    name: str, finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Store(finished_copy).run()
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    if name == "run.json":
        with pytest.raises(trilemma.StoreError, match=r"run\.json could not be written: .*No space left"):
            Store(finished_copy).write_run(before["runs"][0], before["cells"])
        assert Store(finished_copy).run() == before
    else:  # the list is written, its copy is old
        Store(finished_copy).write_run(before["runs"][0], before["cells"])
        assert len(Store(finished_copy).run()["runs"]) == 2
    assert not list(finished_copy.glob(".run.json*"))
