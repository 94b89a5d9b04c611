"""The progress of a run in its directory: what is written, when, and what happens when it cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.progress import Silent
from trilemma.harness.execution.recording import PROGRESS, read_progress
from trilemma.harness.execution.timing import expected_seconds
from trilemma.harness.planning.suite import Timing
from trilemma.harness.store.survey import survey

SUITE = {
    "name": "seen",
    "budget": {"steps": 3},
    "datasets": [{"name": "ring8", "config": {"n_train": 100, "n_valid": 50, "n_test": 100}}],
    "models": [{"name": "gaussian"}, {"name": "kde"}],
    "metrics": {"wasserstein": {"n": 50, "draws": 2}, "sampling_time": {"batch": 50, "seconds": 0.01}},
    "timing": {"rounds": 2, "seconds": 30},
}


class Spy(Silent):
    """Reads the file when a report arrives, as another process would at that moment or a second later."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.left, self.timing = folder, [], []  # type: ignore[var-annotated]

    def remaining(self, seconds: float) -> None:
        self.left.append(seconds)

    def timing_visit(self, cell: Any, number: int) -> None:
        self.timing.append(len(self.left))


def test_the_state_of_a_run_is_in_its_directory_and_belongs_to_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    spy = Spy(out)
    runner = make_runner(SUITE, out=out, progress=spy)
    runner.run()
    assert runner.progress is spy
    seen = read_progress(out)
    assert seen is not None
    found = seen.state
    assert (found.ended, found.total, found.count, found.done, found.outcomes) == ("finished", 2, 2, 2, {"ok": 2})
    assert (found.running, found.failures, found.visits, found.visited) == ([], [], 4, 4)
    assert not [file.name for file in out.iterdir() if file.name.startswith(f".{PROGRESS}")]
    assert not [finding for finding in survey(out).findings if finding.place == PROGRESS]
    # the time that is left was told before each visit, and ends with about the time of one visit
    assert len(spy.timing) == 4
    assert sorted(set(spy.timing)) == spy.timing
    assert 0 <= spy.left[-1] < 30
    runner = make_runner({**SUITE, "models": [{"name": "gaussian"}]}, out=out)
    runner.run()
    seen = read_progress(out)
    assert seen is not None
    assert (seen.state.total, seen.state.count) == (1, 0)


def test_a_failure_is_told_and_an_interruption_is_no_end(tmp_path: Path, bad_plugins: Path) -> None:
    suite = {**SUITE, "models": [{"name": "raises"}]}
    runner = make_runner(suite, out=tmp_path / "run", plugins=[bad_plugins])
    runner.run()
    seen = read_progress(tmp_path / "run")
    assert seen is not None
    assert seen.state.outcomes == {"error": 1}
    assert seen.state.failures[0].startswith("error: raises on ring8(")
    runner = make_runner(SUITE, out=tmp_path / "other")
    runner.interrupted = True
    runner.run()
    seen = read_progress(tmp_path / "other")
    assert seen is not None
    assert seen.state.ended == "interrupted"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    make_runner(SUITE, out=tmp_path / "run").dry_run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_progress_file_that_cannot_be_written_hinders_no_run(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trilemma.run({**SUITE, "models": [{"name": "gaussian"}]}, out=out)
    (out / PROGRESS).unlink()
    (tmp_path / "mine").write_text("mine")
    if kind == "folder":
        (out / PROGRESS).mkdir()
    else:
        (out / PROGRESS).symlink_to(tmp_path / "mine")
    frame = trilemma.run({**SUITE, "models": [{"name": "gaussian"}], "seeds": [1]}, out=out)
    assert (frame["outcome"] == "ok").all()
    assert (tmp_path / "mine").read_text() == "mine"
    if kind == "link":
        assert json.loads((out / PROGRESS).read_text())["state"]["ended"] == "finished"


def test_the_timing_phase_is_part_of_the_time_that_is_left(tmp_path: Path) -> None:
    runner = make_runner({**SUITE, "budget": {"seconds": 100}}, out=tmp_path / "run")
    todo = runner.dry_run()
    assert expected_seconds(Timing(seconds=5), todo) == 5
    assert expected_seconds(Timing(rounds=2), todo) == 2 * 3.0 * 2  # two visits of two cells, by the guess for a visit
    assert expected_seconds(Timing(rounds=50), todo) == 0.1 * 200  # a tenth of the training
    assert expected_seconds(Timing(), []) == 0
