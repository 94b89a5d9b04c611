"""The run directory is never left unreadable: kills, full disks, garbage, two runs at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
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
