"""Directories that cannot be merged are refused before anything is written, and by what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import trilemma
from trilemma.harness.store.merge import merge
from trilemma.harness.store.store import Store

Command = Callable[..., Result]


def other_format(path: Path) -> None:
    (path / "trilemma.json").write_text(json.dumps({"format": 99}))


def no_list(path: Path) -> None:
    (path / "run.json").unlink()


def damaged_list(path: Path) -> None:
    (path / "run.json").write_text("{")


@pytest.mark.parametrize("harm", [other_format, no_list, damaged_list])
def test_a_source_that_is_no_run_directory_of_this_version_is_refused(
    harm: Callable[[Path], None], finished: Path, finished_copy: Path, tmp_path: Path
) -> None:
    harm(finished_copy)
    for backup in finished_copy.glob("run.json.*"):
        backup.unlink()
    with pytest.raises(trilemma.StoreError, match=str(finished_copy)):
        merge([finished, finished_copy], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_absent_or_of_somebody_else_is_refused(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    for source in ("absent", "mine"):
        shown = command("merge", finished, tmp_path / source, "--out", tmp_path / "out")
        assert shown.exit_code == 2
        assert source in shown.output
        assert not (tmp_path / "out").exists()
    shown = command("merge", finished, "--out", tmp_path / "mine")
    assert shown.exit_code == 2
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_the_target_is_no_source_and_lies_in_none(finished: Path, finished_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(trilemma.StoreError, match="leave it out of the sources"):
        merge([finished, finished_copy], finished_copy)
    link = tmp_path / "link"
    link.symlink_to(finished_copy)
    with pytest.raises(trilemma.StoreError, match="leave it out of the sources"):
        merge([finished, link], finished_copy)
    with pytest.raises(trilemma.StoreError, match="lies inside of"):
        merge([finished_copy], finished_copy / "merged")


def test_a_directory_given_twice_is_merged_once(finished: Path, tmp_path: Path) -> None:
    done = merge([finished, finished / ".." / finished.name], tmp_path / "out")
    assert len(done.directories) == 1
    assert "was given twice and is merged once" in done.notes[0]
    assert done.kept == 0


def test_a_directory_that_a_run_uses_is_refused_and_one_that_is_merged_starts_no_run(
    finished: Path, finished_copy: Path, tmp_path: Path
) -> None:
    with Store(finished_copy).writing(), pytest.raises(trilemma.StoreError, match=r"a run is using .*copy"):
        merge([finished, finished_copy], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merge([finished], tmp_path / "out")
    with Store(tmp_path / "out").writing(), pytest.raises(trilemma.StoreError, match="another run is using"):
        merge([finished], tmp_path / "out")
    refused = []

    def during(done: int, total: int) -> None:
        with pytest.raises(trilemma.StoreError, match="another run is using"), Store(finished_copy).writing():
            pass
        refused.append(done)

    merge([finished_copy], tmp_path / "second", during)
    assert refused[0] == 0
    assert len(refused) > 3


def test_links_inside_a_source_are_not_followed(finished_copy: Path, tmp_path: Path) -> None:
    folder = next((finished_copy / "cells").iterdir())
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "extra.safetensors").symlink_to(secret)
    log = finished_copy / "logs" / f"{next((finished_copy / 'data').iterdir()).name}.log"
    log.unlink(missing_ok=True)
    log.symlink_to(secret)
    done = merge([finished_copy], tmp_path / "out")
    assert [folder.name in name for name in done.left_out] == [True]
    assert not [
        file for file in (tmp_path / "out").rglob("*") if file.is_file() and "secret" in file.read_text("latin1")
    ]
