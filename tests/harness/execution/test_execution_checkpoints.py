"""A cell that is interrupted in its training goes on from its checkpoint, and ends with the same bits."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.resume import resumable_step
from trilemma.harness.execution.run import Runner
from trilemma.harness.store.store import Store

Suites = Callable[..., dict[str, Any]]
PLUGIN = Path(__file__).parents[1] / "patient_plugins.py"
STEPS = 60


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file `hold` makes trainings wait in the middle."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setenv("TRILEMMA_TEST_PATIENT", str(folder))
    return folder


@pytest.fixture
def runner_of(tmp_path: Path, suite: Suites) -> Callable[..., Runner]:
    """A runner of one model, into the folder `out` of the test, with a checkpoint about every `seconds`."""

    def make(
        model: str, out: str = "run", seconds: float = 60.0, budget: dict[str, Any] | None = None, **more: Any
    ) -> Runner:
        limits = {"seconds": 60, "memory_gib": 4, "checkpoint_seconds": seconds}
        values = suite(
            model, budget=budget or {"steps": STEPS}, limits=limits, metrics={"wasserstein": {"n": 50, "draws": 2}}
        )
        return make_runner(values, out=tmp_path / out, plugins=[PLUGIN], jobs=1, **more)

    return make


def interrupted(runner: Runner, held: Path, act: Callable[[], None]) -> None:
    """Run until the training is held, and then act."""
    (held / "hold").touch()
    (held / "held").unlink(missing_ok=True)

    def disturb() -> None:
        deadline = time.monotonic() + 60
        while not (held / "held").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    other = threading.Thread(target=disturb)
    other.start()
    runner.run()
    other.join()
    for name in ("hold", "frozen"):
        (held / name).unlink(missing_ok=True)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def only_cell(runner: Runner) -> tuple[dict[str, Any], dict[str, torch.Tensor], list[Any]]:
    """The record and tensors of the only cell of a run, and the values of its results."""
    (cell,) = runner.store.run()["cells"]
    record, tensors = runner.store.record("cells", cell["id"]), runner.store.tensors("cells", cell["id"], "model")
    assert record is not None
    assert tensors is not None
    frame = trilemma.load_results(runner.store.path)
    return record, tensors, frame[frame["group"] != "training"][["metric", "value", "ci_low"]].values.tolist()


def assert_same(found: Runner, expected: Runner) -> dict[str, Any]:
    """Check that two runs have the same bits. Returns the record of the first."""
    (record, tensors, values), (other, wanted, others) = only_cell(found), only_cell(expected)
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    assert record["curves"] == other["curves"]
    assert values == others
    assert record["training"]["steps"] == STEPS
    return record


@pytest.mark.parametrize("model", ["patient", "mindful"])
def test_after_ctrl_c_a_cell_goes_on_at_the_next_step(model: str, held: Path, runner_of: Callable[..., Runner]) -> None:
    whole = runner_of(model, "whole")
    whole.run()
    runner = runner_of(model)
    interrupted(runner, held, stop)
    assert runner.interrupted
    (cell,) = runner.store.run()["cells"]
    step = resumable_step(runner.store, cell["id"], None)
    assert step is not None
    assert 13 <= step < STEPS
    again = runner_of(model)
    (todo,) = again.run()
    assert todo.why == f"interrupted; goes on at step {step}"
    assert assert_same(again, whole)["resumed"] == [step]
    assert f"resumed at step {step}" in again.store.log_tail(cell["id"])
    assert list((again.store.path / "partial").iterdir()) == []
    assert only_cell(whole)[0]["resumed"] == []


def test_after_a_kill_a_cell_goes_on_from_the_latest_checkpoint(held: Path, runner_of: Callable[..., Runner]) -> None:
    whole = runner_of("patient", "whole")
    whole.run()
    (held / "frozen").touch()  # the kill comes within a step
    runner = runner_of("patient", seconds=1e-3)
    interrupted(runner, held, lambda: os.kill(int((held / "pid").read_text()), signal.SIGKILL))
    (cell,) = runner.store.run()["cells"]
    assert (runner.store.record("cells", cell["id"]) or {})["outcome"] == "killed"
    again = runner_of("patient")
    again.run()
    (step,) = assert_same(again, whole)["resumed"]
    assert 1 <= step <= 12


def test_a_model_with_state_that_checkpoints_would_lose_starts_anew(
    held: Path, runner_of: Callable[..., Runner]
) -> None:
    whole = runner_of("forgetful", "whole")
    whole.run()
    runner = runner_of("forgetful")
    interrupted(runner, held, stop)
    (cell,) = runner.store.run()["cells"]
    assert "stores no checkpoints: the model changes attributes" in runner.store.log_tail(cell["id"])
    assert "(count)" in runner.store.log_tail(cell["id"])
    again = runner_of("forgetful")
    again.run()
    assert assert_same(again, whole)["resumed"] == []


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_damaged_checkpoint_is_ignored_with_a_note(
    damage: Callable[[Path], None], held: Path, runner_of: Callable[..., Runner]
) -> None:
    whole = runner_of("patient", "whole")
    whole.run()
    runner = runner_of("patient")
    interrupted(runner, held, stop)
    (cell,) = runner.store.run()["cells"]
    damage(runner.store.path / "partial" / f"{cell['id']}.safetensors")
    again = runner_of("patient")
    again.run()
    assert assert_same(again, whole)["resumed"] == []
    assert "training starts anew, because its checkpoint is not used" in again.store.log_tail(cell["id"])


def test_a_repeat_and_a_first_training_do_not_share_checkpoints(held: Path, runner_of: Callable[..., Runner]) -> None:
    runner = runner_of("patient")
    runner.run()
    repeat = runner_of("patient", rerun=True)
    interrupted(repeat, held, stop)
    (cell,) = runner.store.run()["cells"]
    trace = only_cell(runner)[0]["trace"]
    assert resumable_step(runner.store, cell["id"], None) is None
    step = resumable_step(runner.store, cell["id"], trace)
    again = runner_of("patient", rerun=True)
    again.run()
    assert only_cell(again)[0]["resumed"] == [step]


def test_a_resumed_training_in_seconds_spends_the_rest_and_can_be_repeated(
    held: Path, runner_of: Callable[..., Runner]
) -> None:
    budget = {"seconds": 0.5}
    runner = runner_of("patient", budget=budget)
    interrupted(runner, held, stop)
    again = runner_of("patient", budget=budget)
    again.run()
    record, tensors, _ = only_cell(again)
    (step,) = record["resumed"]
    assert record["training"]["steps"] > step >= 13
    assert record["training"]["seconds"] >= 0.5
    repeat = runner_of("patient", budget=budget, rerun=True)
    repeat.run()
    repeated, wanted, _ = only_cell(repeat)
    assert repeated["resumed"] == []
    assert repeated["trace"] == record["trace"]
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def test_without_checkpoints_an_interrupted_cell_starts_anew(held: Path, runner_of: Callable[..., Runner]) -> None:
    runner = runner_of("patient", seconds=0.0)
    interrupted(runner, held, stop)
    assert list((runner.store.path / "partial").iterdir()) == []
    again = runner_of("patient", seconds=0.0)
    again.run()
    assert only_cell(again)[0]["resumed"] == []


def test_a_checkpoint_that_cannot_be_written_fails_no_cell(
    tmp_path: Path, held: Path, runner_of: Callable[..., Runner]
) -> None:
    runner = runner_of("patient", seconds=1e-3)
    with Store(tmp_path / "run").writing():
        pass
    (tmp_path / "run" / "partial").rmdir()
    partial = tmp_path / "run" / "partial"
    plan = runner.dry_run()
    partial.mkdir()
    (partial / f"{plan[0].cell.id}.safetensors").mkdir()  # a folder is in the place of the file
    runner.run()
    record = only_cell(runner)[0]
    assert (record["outcome"], record["resumed"]) == ("ok", [])
    assert "the checkpoint could not be stored" in runner.store.log_tail(plan[0].cell.id)
