"""`trilemma doctor DIR`: damage of run.json and the marker, what is in the way, and what is never touched."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.store.files import write_json, write_sealed
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Command = Callable[..., Result]
Damage = Callable[[Path, str], None]
Edit = Callable[[Path, Callable[[Suite], object]], None]


def states(shown: Result) -> dict[str, str]:
    """The state of each place in the output of `doctor --json`."""
    return {row["place"]: row["state"] for row in json.loads(shown.stdout)["findings"]}


@pytest.mark.reports
@pytest.mark.parametrize("name", ["run.json", "trilemma.json"])
def test_a_damaged_list_or_marker_is_refused_and_restored(
    name: str, way: str, finished_copy: Path, tiny_suite: Suite, tiny_file: Path, damage: Damage, command: Command
) -> None:
    expected = trilemma.load_results(finished_copy)
    damage(finished_copy / name, way)
    for arguments in (("results", finished_copy), ("report", finished_copy), ("gc", finished_copy, "--delete")):
        shown = command(*arguments)
        assert shown.exit_code == 2
        assert f"`trilemma doctor {finished_copy} --repair` restores it" in shown.output
    with pytest.raises(trilemma.StoreError, match="--repair` restores it"):
        make_runner(tiny_suite, out=finished_copy).run()
    checked = command("doctor", finished_copy, "--json")
    assert checked.exit_code == 1
    assert [place for place, state in states(checked).items() if state == "damaged"] == [name]
    repaired = command("doctor", finished_copy, "--repair")
    assert repaired.exit_code == 0, repaired.output
    pd.testing.assert_frame_equal(trilemma.load_results(finished_copy), expected)
    assert make_runner(tiny_suite, out=finished_copy).dry_run() == []


@pytest.mark.reports
def test_a_list_without_a_copy_is_rebuilt_from_the_records(
    finished: Path, finished_copy: Path, tiny_suite: Suite, damage: Damage, command: Command
) -> None:
    for name in ("run.json", "run.json.bak"):
        damage(finished_copy / name, "cut")
    repaired = command("doctor", finished_copy, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "restored from the records of 3 cells" in repaired.output
    old, new = (
        trilemma.load_results(path).sort_values(["cell", "evaluation", "metric"]) for path in (finished, finished_copy)
    )
    pd.testing.assert_frame_equal(new.reset_index(drop=True), old.reset_index(drop=True))
    assert command("report", finished_copy).exit_code == 0
    assert make_runner(tiny_suite, out=finished_copy).run() == []


def test_a_rebuilt_list_shows_the_newest_of_a_line(
    tmp_path: Path, tiny_suite: Suite, damage: Damage, command: Command
) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "out"
    values = {**tiny_suite, "datasets": [{"name": "file", "config": {"path": str(table)}}]}
    for factor in (1, 2):
        table.write_text("\n".join(f"{factor * 0.1 * i},{(0.3 * i) % 1}" for i in range(300)))
        expected = trilemma.run(values, out=out, models=["gaussian"])
    for name in ("run.json", "run.json.bak"):
        damage(out / name, "deleted")
    assert command("doctor", out, "--repair").exit_code == 0
    assert set(trilemma.load_results(out)["cell"]) == set(expected["cell"])
    assert trilemma.load_results(out, superseded=True)["cell"].nunique() == 2


def test_an_old_copy_is_completed_from_the_records(
    finished_copy: Path, tiny_suite: Suite, damage: Damage, command: Command
) -> None:
    old = (finished_copy / "run.json.bak").read_bytes()
    expected = trilemma.run(tiny_suite, out=finished_copy, models=["kde"])
    (finished_copy / "run.json.bak").write_bytes(old)
    assert states(command("doctor", finished_copy, "--json"))["run.json.bak"] == "note"
    damage(finished_copy / "run.json", "empty")
    assert "restored from its copy and 1 records" in command("doctor", finished_copy, "--repair").output
    pd.testing.assert_frame_equal(trilemma.load_results(finished_copy), expected)


def test_what_is_in_the_way_is_moved_and_what_is_not_ours_stays(finished_copy: Path, command: Command) -> None:
    treasure = finished_copy.parent / "treasure"
    treasure.mkdir()
    (treasure / "thesis.txt").write_text("three years of work")
    shutil.rmtree(finished_copy / "tmp")
    (finished_copy / "tmp").symlink_to(treasure)
    shutil.rmtree(finished_copy / "logs")
    (finished_copy / "logs").write_text("")
    (finished_copy / ".lock").unlink()
    (finished_copy / ".lock").mkdir()
    cell = next((finished_copy / "cells").iterdir())
    mine = [finished_copy / "notes.txt", cell / "notes.txt", finished_copy / "cells" / "mine.txt"]
    for file in mine:
        file.write_text("mine")
    found = states(command("doctor", finished_copy, "--json"))
    assert {place for place, state in found.items() if state == "damaged"} == {"tmp", "logs", ".lock"}
    assert {place for place, state in found.items() if state == "other"} >= {
        str(file.relative_to(finished_copy)) for file in mine
    }
    assert command("doctor", finished_copy, "--repair").exit_code == 0
    assert all(file.read_text() == "mine" for file in mine)
    assert (treasure / "thesis.txt").read_text() == "three years of work"
    assert (finished_copy / "aside" / "file-tmp-1" / "tmp").is_symlink()
    with Store(finished_copy).writing():
        pass


def test_leftovers_pending_and_unlisted_folders_are_told_apart(
    finished_copy: Path, edit: Edit, command: Command
) -> None:
    gone = Store(finished_copy).run()["cells"][0]
    shutil.rmtree(finished_copy / "cells" / gone["id"])
    other = Store(finished_copy).run()["cells"][1]["id"]
    edit(finished_copy, lambda record: record["cells"].pop(1))
    (finished_copy / "tmp" / f"job-{other}").mkdir()
    (finished_copy / ".run.json.123").write_text("{")
    shown = command("doctor", finished_copy, "--json")
    found = states(shown)
    assert shown.exit_code == 0
    assert found[f"cells/{gone['id']}"] == "pending"
    assert found[f"cells/{other}"] == "unlisted"
    assert found[f"tmp/job-{other}"] == found[".run.json.123"] == "leftover"
    assert command("doctor", finished_copy, "--repair").exit_code == 0
    assert "leftover" not in states(command("doctor", finished_copy, "--json")).values()


def test_a_directory_in_use_is_checked_and_not_repaired(finished_copy: Path, command: Command) -> None:
    with (finished_copy / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a run is using this directory" in command("doctor", finished_copy).output
        for arguments in (("doctor", finished_copy, "--repair"), ("gc", finished_copy, "--delete")):
            refused = command(*arguments)
            assert refused.exit_code == 2
            assert "another run is using" in refused.output


@pytest.mark.parametrize("content", ["nothing", "somebody's", "format 2", "0.1"])
def test_what_is_no_run_directory_of_this_version_is_left_alone(content: str, tmp_path: Path, command: Command) -> None:
    if content == "somebody's":
        (tmp_path / "cells").mkdir()
        (tmp_path / "cells" / "record.json").write_text("{}")
    elif content != "nothing":
        write_json(tmp_path / "run.json", {"format": 2, "cells": []})
        if content == "format 2":
            write_json(tmp_path / "trilemma.json", {"format": 2})
    before = sorted(tmp_path.rglob("*"))
    for arguments in (("doctor", tmp_path), ("doctor", tmp_path, "--repair"), ("gc", tmp_path, "--delete")):
        refused = command(*arguments)
        assert refused.exit_code == 2, refused.output
        if content == "format 2":
            assert "has the format 2" in refused.output
    assert sorted(tmp_path.rglob("*")) == before
    assert command("doctor", tmp_path / "nowhere").exit_code == 2


def test_a_sealed_list_of_a_later_format_is_refused(finished_copy: Path, command: Command) -> None:
    write_sealed(finished_copy / "run.json", {"format": 4, "anything": []})
    shown = command("results", finished_copy)
    assert shown.exit_code == 2
    assert "has the format 4, but this version of trilemma reads and writes format 3" in shown.output
