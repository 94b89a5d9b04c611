"""Damage of any file in any way is noticed, never believed, and computed again with the same bits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.progress import Silent
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Command = Callable[..., Result]
Damage = Callable[[Path, str], None]
Same = Callable[[Path, Path], None]

FILES = ("cells/record.json", "cells/model.safetensors", "evaluations/record.json", "evaluations/samples.safetensors",
         "data/record.json", "data/test.safetensors")  # fmt: skip


def files(out: Path, place: str) -> list[Path]:
    """The files of a kind, such as the record of every cell."""
    kind, _, name = place.partition("/")
    return sorted((out / kind).glob(f"*/{name}"))


class Told(Silent):
    """Keeps the messages of a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("place", FILES)
def test_damage_is_noticed_by_every_reader(
    place: str, way: str, finished_copy: Path, damage: Damage, command: Command
) -> None:
    file = files(finished_copy, place)[0]
    kind, id, name = file.parts[-3:]
    damage(file, way)
    store = Store(finished_copy)
    assert store.examine(kind, id, full=True).problem.startswith(name)
    if name != "record.json":
        assert store.tensors(kind, id, name.partition(".")[0]) is None
    elif way == "deleted":
        assert store.record(kind, id) is None
    trilemma.load_results(finished_copy)
    assert command("results", finished_copy).exit_code == 0
    checked = command("doctor", finished_copy)
    assert checked.exit_code == 1
    assert f"FAIL {kind}/{id}: {name} " in checked.output
    before = file.lstat().st_ino if way != "deleted" else None
    assert command("doctor", finished_copy, "--repair").exit_code == 0
    assert command("doctor", finished_copy).exit_code == 0
    kept = [found.lstat().st_ino for found in (finished_copy / "aside").glob(f"*/{name}")]
    assert kept == ([before] if before else [])


def test_what_is_damaged_is_computed_again_with_the_same_bits(
    way: str, finished: Path, finished_copy: Path, tiny_suite: Suite, damage: Damage, assert_same: Same
) -> None:
    chosen = [files(finished_copy, place)[number] for number, place in zip((0, 1, 0, 1, 0), FILES, strict=False)]
    for file in chosen:
        damage(file, way)
    told = Told()
    runner = make_runner(tiny_suite, out=finished_copy, progress=told)
    runner.run()
    assert_same(finished_copy, finished)
    for file in chosen[:4]:
        assert any(f"{file.parent}: {file.name} " in text for text in told.texts), told.texts
    assert Store(finished_copy).record("data", chosen[4].parent.name) is not None
    assert make_runner(tiny_suite, out=finished_copy).dry_run() == []


def test_a_damaged_checkpoint_is_trained_again_and_its_evaluations_stay(
    finished: Path, finished_copy: Path, tiny_suite: Suite, damage: Damage, assert_same: Same
) -> None:
    """A flipped bit in a checkpoint once gave a W2 of 1.8e35."""
    before = {file: file.stat().st_ino for file in files(finished_copy, "evaluations/record.json")}
    checkpoint = files(finished_copy, "cells/model.safetensors")[0]
    damage(checkpoint, "flipped bit")
    (todo,) = make_runner(tiny_suite, out=finished_copy).dry_run()
    assert (todo.train, todo.evaluations) == (True, ())
    assert "model.safetensors is damaged (its checksum does not match)" in todo.why
    more = {**tiny_suite, "metrics": {**tiny_suite["metrics"], "modes": {}}}
    make_runner(tiny_suite, out=finished_copy).run()
    assert_same(finished_copy, finished)
    assert {file: file.stat().st_ino for file in files(finished_copy, "evaluations/record.json")} == before
    assert set(trilemma.run(more, out=finished_copy)["outcome"]) == {"ok"}


def test_a_checkpoint_that_is_damaged_after_planning_is_trained_again(
    finished: Path, finished_copy: Path, tiny_suite: Suite, damage: Damage, assert_same: Same
) -> None:
    """The process of the cell checks once more what it restores."""
    for folder in (finished_copy / "evaluations").iterdir():
        shutil.rmtree(folder)

    class Vandal(Silent):
        def started(self, todo: list[Any], total: int) -> None:
            for file in files(finished_copy, "cells/model.safetensors"):
                damage(file, "flipped bit")

    make_runner(tiny_suite, out=finished_copy, progress=Vandal()).run()
    assert_same(finished_copy, finished)


@pytest.mark.parametrize("file", ["model.safetensors", "record.json"])
def test_a_lost_training_of_a_budget_in_seconds_takes_its_results_along(
    file: str, tmp_path: Path, tiny_suite: Suite, damage: Damage
) -> None:
    """The record says how many steps were taken. Without it the training is another one."""
    values = {**tiny_suite, "budget": {"seconds": 0.2}}
    options = {"out": tmp_path / "run", "models": ["realnvp"], "set": ["models.realnvp.config.transforms=2"]}
    first = trilemma.run(values, **options)
    damage(files(tmp_path / "run", f"cells/{file}")[0], "flipped bit")
    (todo,) = make_runner(values, **options).dry_run()
    assert bool(todo.evaluations) == (file == "record.json")
    again = trilemma.run(values, **options)
    kept = [folder.name.partition("-")[0] for folder in (tmp_path / "run" / "aside").iterdir()]
    assert sorted(kept) == (["cells"] if file != "record.json" else ["cells", "evaluations", "evaluations"])
    if file != "record.json":
        assert again["steps"].tolist() == first["steps"].tolist()
        assert again["value"].tolist() == first["value"].tolist()


def test_a_file_without_permission_is_no_error(finished_copy: Path, damage: Damage, command: Command) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    damage(files(finished_copy, "cells/record.json")[0], "no permission")
    assert command("results", finished_copy).exit_code == 0
    assert "cannot be read (Permission denied)" in command("doctor", finished_copy).output


def test_a_run_directory_works_at_another_place(finished: Path, tmp_path: Path, tiny_suite: Suite) -> None:
    shutil.copytree(finished, tmp_path / "a" / "copy", copy_function=shutil.copy)
    assert make_runner(tiny_suite, out=tmp_path / "a" / "copy").dry_run() == []


def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trilemma.harness.store.aside.KEPT", 3)
    store = Store(tmp_path)
    with store.writing():
        for number in range(6):
            store.commit("data", "one", {"number": number})
            (tmp_path / "data" / "one" / "record.json").write_text(str(number))
        store.commit("data", "one", {"number": 6})
    texts = sorted((folder / "record.json").read_text() for folder in (tmp_path / "aside").iterdir())
    assert texts == ["3", "4", "5"], "the oldest are deleted"
