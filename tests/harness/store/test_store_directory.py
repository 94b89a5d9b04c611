"""The user's files are safe: what trilemma refuses, what it deletes, and what a dry run leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.store.claim import MARKER
from trilemma.harness.store.files import write_json
from trilemma.harness.store.store import Store

Suite = dict[str, Any]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its time of change and content."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
@pytest.mark.parametrize("link", [True, False], ids=["link", "folder"])
def test_a_directory_of_somebody_else_is_refused_and_untouched(
    dry: bool, link: bool, tmp_path: Path, tiny_suite: Suite
) -> None:
    home, treasure = tmp_path / "home", tmp_path / "treasure"
    for folder in (home, treasure):
        folder.mkdir()
    (treasure / "thesis.txt").write_text("three years of work")
    if link:
        (home / "tmp").symlink_to(treasure)
    else:
        (home / "tmp").mkdir()
        (home / "tmp" / "thesis.txt").write_text("three years of work")
    before = tree(tmp_path)
    runner = make_runner(tiny_suite, out=home)
    with pytest.raises(trilemma.StoreError, match=r"not made by trilemma.*nothing in it was changed.*--out"):
        _ = runner.dry_run() if dry else runner.run()
    assert tree(tmp_path) == before
    assert sorted(os.listdir(home)) == ["tmp"]


def test_a_directory_of_the_first_version_is_refused_with_the_reason(tmp_path: Path, tiny_suite: Suite) -> None:
    write_json(tmp_path / "run.json", {"format": 1, "cells": [], "suite": {}})
    with pytest.raises(trilemma.StoreError, match=r"trilemma 0\.1, whose run directories have no marker"):
        make_runner(tiny_suite, out=tmp_path).run()
    with pytest.raises(trilemma.StoreError, match=r"trilemma 0\.1"):
        trilemma.load_results(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path, tiny_suite: Suite) -> None:
    write_json(tmp_path / MARKER, {"format": 99})
    with pytest.raises(trilemma.StoreError, match="format 99"):
        make_runner(tiny_suite, out=tmp_path).run()


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    with Store(tmp_path).writing():
        assert (tmp_path / MARKER).is_file()


def test_only_names_that_trilemma_makes_are_deleted_and_no_link_is_followed(tmp_path: Path) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "thesis.txt").write_text("three years of work")
    with Store(out).writing():
        pass
    own = [f"job-{'0123456789abcdef0123'}", "cells-0123-77", "old-evaluations-ab12-5"]
    for name in [*own, "notes", "job-mine"]:
        (out / "tmp" / name).mkdir()
        (out / "tmp" / name / "file").write_text("x")
    (out / "tmp" / f"job-{'f' * 20}").symlink_to(treasure)
    (out / "tmp" / own[0] / "link").symlink_to(treasure)
    with Store(out).writing():
        pass
    assert sorted(os.listdir(out / "tmp")) == ["job-" + "f" * 20, "job-mine", "notes"]
    assert (treasure / "thesis.txt").read_text() == "three years of work"


@pytest.mark.parametrize("name", ["tmp", "cells", "logs"])
def test_a_room_of_the_run_directory_that_is_a_link_is_refused(name: str, tmp_path: Path) -> None:
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.mkdir()
    with Store(out).writing():
        pass
    (out / name).rmdir()
    (out / name).symlink_to(treasure)
    with pytest.raises(trilemma.StoreError, match="is a link"), Store(out).writing():
        pass


def test_a_dry_run_writes_nothing(finished: Path, tmp_path: Path, tiny_suite: Suite) -> None:
    before = tree(finished)
    more = {**tiny_suite, "datasets": [*tiny_suite["datasets"], {"name": "moons"}]}
    assert [item.cell.dataset.name for item in make_runner(more, out=finished).dry_run()] == ["moons"] * 3
    assert tree(finished) == before
    make_runner(tiny_suite, out=tmp_path / "new").dry_run()
    assert os.listdir(tmp_path) == []


def test_no_job_file_is_left_when_cells_have_ended(finished: Path) -> None:
    assert os.listdir(finished / "tmp") == []
