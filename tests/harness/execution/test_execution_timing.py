"""Times are measured after all cells, one process at a time, in rounds and in random order."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.progress import Silent
from trilemma.harness.execution.run import Runner
from trilemma.harness.planning.cell import Cell

PLUGINS = Path(__file__).parents[1] / "timed_plugins.py"

Make = Callable[..., Runner]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a runner of a small suite, whose plugins note in a file what they do."""
    monkeypatch.setenv("TRILEMMA_TEST_LOG", str(tmp_path / "log"))
    (tmp_path / "log").touch()

    def runner(*tags: int, model: str = "kept", progress: Any = None, rerun: bool = False, **changes: Any) -> Runner:
        suite = {
            "name": "timed",
            "budget": {"steps": 1},
            "datasets": [{"name": "ring8", "config": {"n_train": 100, "n_valid": 20, "n_test": 50}}],
            "models": [{"name": model, "config": {"tag": list(tags)}}],
            "metrics": {"spread": {}, "ticks": {}},
            "timing": {"rounds": 3, "seconds": 60},
            **changes,
        }
        out = tmp_path / "out"
        return make_runner(suite, out=out, plugins=[PLUGINS], jobs=2, progress=progress, rerun=rerun)

    return runner


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """What the plugins have noted so far of one kind, in the order of time."""
    return lambda what: [
        entry for line in (tmp_path / "log").read_text().splitlines() if (entry := json.loads(line))["what"] == what
    ]


Log = Callable[[str], list[dict[str, Any]]]


def ticks(path: Path) -> pd.DataFrame:
    """The rows of the times."""
    frame = trilemma.load_results(path)
    return frame[(frame["metric"] == "ticks") | frame["phase"].str.startswith("timing") | frame["metric"].isna()]


def visits(row: Any) -> list[float]:
    return list(json.loads(row.details)["visits"])


class Watch(Silent):
    """Collects messages, and interrupts the run before a visit if it is told to."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.messages: list[str] = []
        self.begun = 0
        self.interrupt_at = interrupt_at

    def message(self, text: str) -> None:
        self.messages.append(text)

    def timing_visit(self, cell: Cell, number: int) -> None:
        self.begun += 1
        if self.begun == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)


def test_times_come_after_all_cells_one_at_a_time_in_a_new_order_each_round(make: Make, log: Log) -> None:
    runner = make(1, 2, 3, seeds=[4, 5])
    runner.run()
    timed = log("ticks")
    in_cells = log("fit") + log("spread")
    assert len(log("fit")) == 3 * 2
    assert len(log("spread")) == 3 * 2 * 2
    assert max(entry["ended"] for entry in in_cells) < min(entry["begun"] for entry in timed)
    assert all(first["ended"] <= second["begun"] for first, second in itertools.pairwise(timed))
    assert {entry["seed"] for entry in timed} == {4}, "the first seed alone"
    settings = [(entry["tag"], entry["sampler"]) for entry in timed]
    rounds = [settings[start : start + 6] for start in (0, 6, 12)]
    everything = {(tag, sampler) for tag in (1, 2, 3) for sampler in ("one", "two")}
    assert [set(visited) for visited in rounds] == [everything] * 3
    assert len({tuple(visited) for visited in rounds}) > 1
    assert len({entry["pid"] for entry in timed}) == 9, "a process for each visit to a cell"
    rows = ticks(runner.store.path)
    assert rows["seed"].tolist() == [4] * 6
    assert all(len(visits(row)) == 3 for row in rows.itertuples())


def test_visits_are_put_together_without_those_that_others_disturbed(
    make: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_TEST_TICKS", json.dumps({"one": ["1", "2", "4"], "two": ["9c", "3", "3"]}))
    runner = make(1)
    runner.run()
    one, two = ticks(runner.store.path).set_index("sampler").loc[["one", "two"]].itertuples()
    assert one.value == pytest.approx(2)
    assert one.ci_high == pytest.approx(2 * math.exp(4.302653 * math.log(2) / math.sqrt(3)), rel=1e-4), "two degrees"
    assert (two.value, visits(two), json.loads(two.details)["contended_visits"]) == (pytest.approx(3), [3, 3], 1)
    assert "contended" not in json.loads(two.details)


def test_beyond_the_limit_every_setting_is_visited_once_and_no_more(make: Make, log: Log) -> None:
    watch = Watch()
    runner = make(1, 2, progress=watch, timing={"seconds": 0.001})
    runner.run()
    assert Counter((entry["tag"], entry["sampler"]) for entry in log("ticks")) == {
        (tag, sampler): 1 for tag in (1, 2) for sampler in ("one", "two")
    }
    assert any("more than its limit of 0.001 s" in message for message in watch.messages)
    assert ticks(runner.store.path)["ci_low"].isna().all(), "one visit gives no interval"
    assert make(1, 2).run() == []


def test_an_interrupted_phase_keeps_its_visits_and_the_next_run_makes_the_others(make: Make, log: Log) -> None:
    runner = make(1, 2, progress=Watch(interrupt_at=4))
    runner.run()
    assert runner.interrupted
    before = ticks(runner.store.path)
    assert before["outcome"].tolist() == ["ok"] * 4
    made = len(log("ticks"))
    assert 4 <= made < 12
    again = make(1, 2)
    todo = again.dry_run()
    assert [item.why for item in todo] == ["timing was interrupted last time"] * len(todo)
    assert not any(item.in_cell for item in todo)
    again.run()
    after = ticks(runner.store.path)
    assert [len(visits(row)) for row in after.itertuples()] == [3] * 4
    assert len(log("fit")) == 2, "nothing was trained again"
    assert make(1, 2).run() == []


def test_what_was_not_visited_before_an_interruption_has_not_run_yet(make: Make) -> None:
    runner = make(1, 2, progress=Watch(interrupt_at=1))
    runner.run()
    assert ticks(runner.store.path)["outcome"].isin(["interrupted", "ok"]).all()
    assert "interrupted" in set(ticks(runner.store.path)["outcome"])


@pytest.mark.parametrize(("wrong", "outcome"), [("kill", "killed"), ("raise", "error")])
def test_a_timing_that_fails_fails_alone_and_is_tried_again(
    wrong: str, outcome: str, make: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_TEST_TICKS", json.dumps({"one": [wrong, "1"], "two": ["2"]}))
    runner = make(1)
    runner.run()
    frame = trilemma.load_results(runner.store.path)
    bad = frame[frame["outcome"] != "ok"]
    assert bad[["sampler", "outcome", "phase"]].values.tolist() == [["one", outcome, "timing one"]]
    good = frame[frame["outcome"] == "ok"]
    assert sorted(zip(good["metric"], good["sampler"], strict=True)) == [
        ("spread", "one"), ("spread", "two"), ("ticks", "two")
    ]  # fmt: skip
    assert len(visits(good[good["metric"] == "ticks"].iloc[0])) == 3
    (todo,) = make(1).dry_run()
    assert todo.why == f"timing ended as {outcome} last time"
    assert len(todo.timings) == 1
    make(1).run()
    assert trilemma.load_results(runner.store.path)["outcome"].eq("ok").all()
    assert len(log("spread")) == 2


def test_a_model_without_a_checkpoint_is_trained_once_more_to_be_timed(make: Make, log: Log) -> None:
    runner = make(1, model="lost")
    runner.run()
    assert len(log("fit")) == 2
    rows = ticks(runner.store.path)
    assert [len(visits(row)) for row in rows.itertuples()] == [3, 3]
    assert all(json.loads(row.details)["trained_again"] for row in rows.itertuples())
    assert len({entry["pid"] for entry in log("ticks")}) == 1


def test_a_rerun_measures_times_anew(make: Make, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    make(1).run()
    runner = make(1, rerun=True)
    runner.run()
    assert len(log("ticks")) == 2 * 6
    assert [len(visits(row)) for row in ticks(runner.store.path).itertuples()] == [3, 3]


def test_times_and_the_other_metrics_of_a_sampler_never_run_again_because_of_each_other(make: Make, log: Log) -> None:
    make(1).run()
    make(1, metrics={"spread": {"n": 30}, "ticks": {}}).run()
    assert (len(log("spread")), len(log("ticks"))) == (4, 6)
    runner = make(1, metrics={"spread": {"n": 30}, "ticks": {"scale": 2.0}})
    runner.run()
    assert (len(log("spread")), len(log("ticks"))) == (4, 12)
    assert ticks(runner.store.path)["value"].tolist() == pytest.approx([2, 2]), "the older times are superseded"
    assert len(log("fit")) == 1


def test_a_dry_run_names_the_timings(make: Make) -> None:
    (todo,) = make(1).dry_run()
    assert todo.in_cell
    make(1).run()
    (todo,) = make(1, metrics={"spread": {}, "ticks": {"scale": 2.0}}).dry_run()
    assert (todo.in_cell, todo.why, len(todo.timings)) == (False, "new timings", 2)
