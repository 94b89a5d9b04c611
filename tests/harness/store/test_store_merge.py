"""Merging run directories: shards give what one run gives, nothing gets worse, and the sources stay as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.store import transfer
from trilemma.harness.store.merge import merge
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Command = Callable[..., Result]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def shards(tiny_file: Path) -> list[Path]:
    """The directories of two shards of the tiny suite. No test changes them."""
    outs = [tiny_file.with_name(f"shard-{number}") for number in (1, 2)]
    for number, out in enumerate(outs, 1):
        frame = trilemma.run(tiny_file, out=out, shard=(number, 2))
        assert set(frame["outcome"]) == {"ok"}
    return outs


@pytest.fixture
def copies(shards: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of the two shards, to change."""
    return [Path(shutil.copytree(shard, tmp_path / f"copy-{shard.name}")) for shard in shards]


def content(path: Path) -> dict[str, str]:
    """The checksum of every file below a directory."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rewrite(path: Path, kind: str, id: str, change: Change) -> None:
    """Write a record of a store again, with a change. Its tensors stay."""
    store = Store(path)
    record = store.record(kind, id)
    assert record is not None
    names = [file.stem for file in (path / kind / id).glob("*.safetensors")]
    tensors = {name: found for name in names if (found := store.tensors(kind, id, name)) is not None}
    change(record)
    store.commit(kind, id, record, tensors)


def ids(path: Path, kind: str) -> list[str]:
    return sorted(folder.name for folder in (path / kind).iterdir())


def failed(record: dict[str, Any]) -> None:
    record.update(outcome="killed", message="by the test")


@pytest.mark.reports
def test_shards_and_their_merge_are_the_run_in_one_piece(shards: list[Path], finished: Path, tmp_path: Path) -> None:
    before = [content(shard) for shard in shards]
    done = trilemma.merge(shards[::-1], out=tmp_path / "out")
    assert [content(shard) for shard in shards] == before
    assert (done.conflicts, done.left_out, done.notes, done.problems) == ([], [], [], [])
    assert {Path(file).name for file in done.written} >= {"report.html", "report.md", "results.csv"}
    merged = trilemma.load_results(tmp_path / "out")
    pd.testing.assert_frame_equal(merged, trilemma.load_results(finished))
    assert merged["selected"].all()
    for id in ids(finished, "cells"):
        file = f"cells/{id}/model.safetensors"
        assert (tmp_path / "out" / file).read_bytes() == (finished / file).read_bytes()
    for id in ids(finished, "evaluations"):
        one, other = (Store(path).record("evaluations", id) for path in (tmp_path / "out", finished))
        assert one is not None
        assert other is not None
        assert one["results"] == other["results"]
    assert {file.name for file in (tmp_path / "out" / "logs").iterdir()} >= {
        f"{id}.log" for id in ids(finished, "cells")
    }
    record = Store(tmp_path / "out").run()
    assert [part["shard"]["number"] for part in record["runs"][-1]["merged"]] == [1, 2]
    assert len(record["runs"]) == 1


def test_shards_that_come_later_join_those_that_are_there(
    shards: list[Path], tmp_path: Path, tiny_suite: Suite
) -> None:
    first = merge(shards[:1], tmp_path / "out")
    assert first.notes == ["of the 2 shards of suite tiny, these are not there: 2"]
    second = merge(shards[1:], tmp_path / "out")
    assert second.notes == []
    frame = trilemma.load_results(tmp_path / "out")
    assert frame["selected"].all()
    assert frame["cell"].nunique() == 3
    # The directory is one like any other: the suite has nothing left to do in it.
    assert set(trilemma.run(tiny_suite, out=tmp_path / "out")["outcome"]) == {"ok"}


def test_merging_again_changes_nothing(shards: list[Path], tmp_path: Path) -> None:
    merge(shards, tmp_path / "out")
    before = content(tmp_path / "out")
    again = merge(shards, tmp_path / "out")
    assert again.copied == 0
    assert content(tmp_path / "out") == before
    merge([tmp_path / "out"], tmp_path / "further")
    pd.testing.assert_frame_equal(trilemma.load_results(tmp_path / "further"), trilemma.load_results(tmp_path / "out"))


def test_a_merge_that_is_stopped_anywhere_leaves_a_readable_directory_and_is_finished_by_another(
    shards: list[Path], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, count = shutil.copyfile, 0

    def stops_at(number: int) -> Callable[..., Any]:
        def copyfile(source: Path, target: Path, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                target.write_bytes(source.read_bytes()[:50])
                raise KeyboardInterrupt
            return copy(source, target, **options)

        return copyfile

    for number in range(1, 40):
        out, count = tmp_path / f"out-{number}", 0
        monkeypatch.setattr(transfer.shutil, "copyfile", stops_at(number))
        try:
            merge(shards, out)
        except KeyboardInterrupt:
            assert set(trilemma.load_results(out)["outcome"]) <= {"ok", "interrupted"}
        else:
            break
        monkeypatch.setattr(transfer.shutil, "copyfile", copy)
        merge(shards, out)
        pd.testing.assert_frame_equal(trilemma.load_results(out), trilemma.load_results(finished))
    assert number > 10


def test_damaged_records_are_left_out_with_a_message_unless_another_source_has_them(
    copies: list[Path], shards: list[Path], tmp_path: Path, command: Command
) -> None:
    lost = ids(copies[0], "cells")[0]
    (copies[0] / "cells" / lost / "record.json").write_text("{")
    evaluation = ids(copies[1], "evaluations")[0]
    (copies[1] / "evaluations" / evaluation / "record.json").unlink()
    shown = command("merge", *copies, "--out", tmp_path / "out")
    assert shown.exit_code == 1
    assert "left out, because damaged or incomplete" in shown.stderr
    assert f"cells/{lost} (" in shown.stderr
    assert f"evaluations/{evaluation} (" in shown.stderr
    frame = trilemma.load_results(tmp_path / "out")
    assert set(frame.loc[frame["outcome"] == "interrupted", "cell"]) >= {lost}
    whole = command("merge", *copies, *shards, "--out", tmp_path / "out", "--json")
    assert whole.exit_code == 0, whole.output
    assert json.loads(whole.stdout)["left_out"] == []
    assert set(trilemma.load_results(tmp_path / "out")["outcome"]) == {"ok"}


def test_a_result_beats_a_failure_from_either_side(copies: list[Path], shards: list[Path], tmp_path: Path) -> None:
    for path in copies:
        for kind in ("cells", "evaluations"):
            for id in ids(path, kind):
                rewrite(path, kind, id, failed)
    merge([*copies, *shards], tmp_path / "failures-first")
    merge([*shards, *copies], tmp_path / "failures-last")
    for out in ("failures-first", "failures-last"):
        assert set(trilemma.load_results(tmp_path / out)["outcome"]) == {"ok"}
    assert set(trilemma.load_results(copies[0])["outcome"]) == {"killed"}


def test_a_damaged_target_is_mended_and_keeps_what_is_whole(shards: list[Path], tmp_path: Path) -> None:
    """A source without evaluations brings back a checkpoint; the evaluations and a file of somebody else stay."""
    out, bare = tmp_path / "out", Path(shutil.copytree(shards[0], tmp_path / "bare"))
    merge(shards, out)
    for id in ids(bare, "evaluations"):
        shutil.rmtree(bare / "evaluations" / id)
    before = trilemma.load_results(out)
    source = next((bare / "cells").glob("*/model.safetensors"))
    file = out / source.relative_to(bare)
    for spoil in (file.unlink, lambda: file.write_bytes(b"damage")):
        spoil()
        (file.parent / "notes.txt").write_text("mine")
        done = merge([bare], out)
        assert done.conflicts == []
        assert file.read_bytes() == source.read_bytes()
        assert [kept.read_text() for kept in (out / "aside").rglob("notes.txt")][-1] == "mine"
        pd.testing.assert_frame_equal(trilemma.load_results(out), before)


def test_of_two_results_the_first_stays_and_the_difference_is_said(
    copies: list[Path], shards: list[Path], tmp_path: Path, command: Command
) -> None:
    evaluation = ids(copies[0], "evaluations")[0]

    def other(record: dict[str, Any]) -> None:
        record["results"][0]["value"] += 1e-12

    rewrite(copies[0], "evaluations", evaluation, other)
    shown = command("merge", *shards, *copies, "--out", tmp_path / "out")
    assert shown.exit_code == 0
    assert "1 cell has different results in two directories, and the first was kept" in shown.stderr
    assert "on ring8(n_train=200, n_valid=50, n_test=100), seed 0" in shown.stderr
    kept, first = (Store(path).record("evaluations", evaluation) for path in (tmp_path / "out", shards[0]))
    assert kept == first


def test_evaluations_never_come_from_another_training_than_the_checkpoint(
    copies: list[Path], shards: list[Path], tmp_path: Path
) -> None:
    """The first directory has lost an evaluation that the second has, of a model that was trained otherwise."""
    store = Store(copies[0])
    id = next(id for id in ids(copies[0], "cells") if (store.tensors("cells", id, "model") or {}))
    record, tensors = store.record("cells", id), store.tensors("cells", id, "model")
    assert record is not None
    assert tensors is not None
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name] = tensors[name] + 1
    store.commit("cells", id, record, {"model": tensors})
    evaluations = {name: store.record("evaluations", name) or {} for name in ids(copies[0], "evaluations")}
    evaluation = next(name for name, found in evaluations.items() if found["cell"] == id)
    shutil.rmtree(copies[0] / "evaluations" / evaluation)
    done = merge([copies[0], *shards], tmp_path / "out")
    assert len(done.conflicts) == 1
    assert Store(tmp_path / "out").record("evaluations", evaluation) is None
    better = merge([shards[0], copies[0], shards[1]], tmp_path / "better")
    assert len(better.conflicts) == 1
    assert Store(tmp_path / "better").record("evaluations", evaluation) is not None


def test_a_shard_that_ran_twice_after_an_interruption_is_one_shard(
    copies: list[Path], tmp_path: Path, tiny_file: Path
) -> None:
    shutil.rmtree(copies[0] / "cells" / ids(copies[0], "cells")[0])
    trilemma.run(tiny_file, out=copies[0], shard="1/2")
    merge(copies, tmp_path / "out")
    frame = trilemma.load_results(tmp_path / "out", superseded=True)
    assert frame["selected"].all()
    assert not frame["superseded"].any()
    assert frame["cell"].nunique() == 3


def test_runs_of_other_suites_keep_their_order(shards: list[Path], tiny_suite: Suite, tmp_path: Path) -> None:
    trilemma.run(tiny_suite, out=tmp_path / "kde", models=["kde"])
    merge([*shards, tmp_path / "kde"], tmp_path / "out")
    frame = trilemma.load_results(tmp_path / "out")
    assert set(frame.loc[frame["selected"], "label"]) == {"kde"}
    merge([tmp_path / "kde", *shards], tmp_path / "other")
    frame = trilemma.load_results(tmp_path / "other")
    assert set(frame.loc[~frame["selected"], "label"]) == {"kde"}
