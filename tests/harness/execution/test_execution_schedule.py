"""The order in which cells start, the room in memory that they wait for, and runs that end after failures."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.cli import main
from trilemma.harness.execution.processes.supervisor import Ending
from trilemma.harness.execution.progress import Silent, Todo
from trilemma.harness.execution.scheduling import estimates as estimates_module
from trilemma.harness.execution.scheduling import schedule
from trilemma.harness.execution.scheduling.estimates import Estimates
from trilemma.harness.execution.scheduling.executors import Work
from trilemma.harness.execution.scheduling.memory import Admission, available_memory
from trilemma.harness.execution.scheduling.schedule import Schedule
from trilemma.harness.planning.cell import Cell
from trilemma.harness.terminal.bars import duration

GIB = 2**30


@pytest.fixture(scope="module")
def todo(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> list[Todo]:
    """Six cells: two models, one of them with two options, with two seeds each."""
    file = tmp_path_factory.mktemp("six") / "six.toml"
    file.write_text(tiny)
    return make_runner(file, out=file.with_name("none"), seeds=2).dry_run()


@dataclass
class Fake:
    """An executor whose cells end when the test says so; by default at once, in the order of their start."""

    slots: int = 1
    local: bool = True
    hold: bool = False
    most: int = 0
    started: list[Cell] = field(default_factory=list)
    futures: list[Future[Ending]] = field(default_factory=list)

    def submit(self, work: Work) -> Future[Ending]:
        raise NotImplementedError

    def start(self, item: Todo) -> Future[Ending]:
        future: Future[Ending] = Future()
        self.started.append(item.cell)
        self.futures.append(future)
        self.most = max(self.most, sum(not future.done() for future in self.futures))
        if not self.hold:
            future.set_result(Ending("exit"))
        return future

    def close(self) -> None: ...


def run(fake: Fake, todo: list[Todo], estimates: Estimates | None = None, **more: Any) -> list[Cell]:
    ended: list[Cell] = []
    Schedule(
        fake,
        estimates or Estimates(),
        start=fake.start,
        ended=lambda item, ending: ended.append(item.cell),
        stopped=more.pop("stopped", lambda: False),
        progress=more.pop("progress", Silent()),
    ).run(todo)
    return ended


def test_cells_that_take_longest_start_first_and_equals_in_the_order_of_the_plan(todo: list[Todo]) -> None:
    estimates = Estimates()
    for item, seconds in zip(todo, (1.0, 1.0, 5.0, 5.0, 3.0, 3.0), strict=True):
        estimates.learn(item.cell, seconds, None)
    assert [todo.index(item) for item in todo] == list(range(6))
    order = [next(i for i, item in enumerate(todo) if item.cell is cell) for cell in run(Fake(), todo, estimates)]
    assert order == [2, 3, 4, 5, 0, 1]
    assert run(Fake(), todo) == [item.cell for item in todo]


def test_what_a_cell_took_counts_for_others_of_its_model_then_of_all(todo: list[Todo]) -> None:
    first, second, *_, last = todo
    estimates = Estimates()
    unknown = estimates.seconds(first)
    assert unknown > 0
    estimates.learn(first.cell, 40.0, GIB)
    assert estimates.seconds(second) == 40.0  # the other seed
    assert estimates.seconds(last) == 40.0  # nothing else is known
    estimates.learn(last.cell, 4.0, 2 * GIB)
    assert estimates.seconds(last) == 4.0
    assert estimates.memory(first.cell) == pytest.approx(1.2 * GIB)
    assert estimates.memory(last.cell) == pytest.approx(2.4 * GIB)
    assert estimates.remaining([first, last], [(second, 30.0)], slots=2) == pytest.approx((40 + 4 + 10) / 2)
    assert estimates.seconds(replace(first, train=False)) < 40.0


def test_the_evaluations_of_a_cell_count_for_other_models_and_not_its_whole_time(tmp_path: Path, tiny: str) -> None:
    file = tmp_path / "seconds.toml"
    file.write_text(tiny.replace("steps = ", "seconds = "))
    first, *_, last = make_runner(file, out=file.with_name("none"), seeds=2).dry_run()
    budget, count = first.cell.budget["seconds"], len(first.cell.evaluated)
    estimates = Estimates()
    estimates.learn(first.cell, budget + 6.0 * count, None)
    assert estimates.seconds(last) == pytest.approx(last.cell.budget["seconds"] + 6.0 * len(last.cell.evaluated))
    estimates.learn(first.cell, budget / 2, None)  # a control
    assert estimates.seconds(last) == pytest.approx(last.cell.budget["seconds"] + 6.0 * len(last.cell.evaluated))


def test_evaluations_that_are_not_stored_yet_are_taken_to_last_as_long_as_the_others(todo: list[Todo]) -> None:
    cell = todo[0].cell
    stored = {cell.id: {"outcome": "ok", "elapsed": 10.0}, cell.evaluated[0].id: {"elapsed": 3.0}}

    class Some:
        def record(self, kind: str, id: str) -> dict[str, Any] | None:
            return stored.get(id)

    assert len(cell.evaluated) > 1
    estimates = Estimates.from_store(Some(), [cell])  # type: ignore[arg-type]
    assert estimates.seconds(todo[0]) == pytest.approx(10 + 3 * len(cell.evaluated))


class Ends(Silent):
    """Ends what runs, whenever the schedule has waited."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def remaining(self, seconds: float) -> None:
        for future in self.fake.futures:
            if not future.done():
                future.set_result(Ending("exit"))


@pytest.mark.parametrize(("free", "expected"), [(2.0, 1), (5.5, 2), (100.0, 4)])
def test_cells_wait_for_room_in_memory_and_one_always_runs(
    todo: list[Todo], monkeypatch: pytest.MonkeyPatch, free: float, expected: int
) -> None:
    monkeypatch.setattr(schedule, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(schedule, "available_memory", lambda: free * GIB)
    estimates = Estimates()
    for item in todo:
        estimates.learn(item.cell, 1.0, 2 * GIB)
    fake = Fake(slots=4, hold=True)
    assert len(run(fake, todo, estimates, progress=Ends(fake))) == 6
    assert fake.most == expected


def test_memory_is_reserved_until_a_cell_has_ended() -> None:
    admission = Admission(4 * GIB)
    assert admission.admits(100 * GIB, 0)  # alone, a cell may try
    admission.started("a", 3 * GIB)
    assert not admission.admits(2 * GIB, 4 * GIB)
    assert admission.admits(0.5 * GIB, 4 * GIB)
    assert not admission.admits(0.5 * GIB, 0.1 * GIB)  # others have taken it
    admission.ended("a")
    assert admission.admits(2 * GIB, 4 * GIB)


def test_the_limit_of_a_control_group_counts(tmp_path: Path) -> None:
    assert available_memory(tmp_path) > 0
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(tmp_path) > 5000
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(tmp_path) == 4000


def test_no_cell_starts_once_a_run_is_stopped(todo: list[Todo]) -> None:
    fake = Fake()
    assert len(run(fake, todo, stopped=lambda: len(fake.started) >= 2)) == 2


def test_thousands_of_waiting_cells_ask_for_one_median(todo: list[Todo], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, *_ = todo
    assert one.cell.model == two.cell.model
    asked: list[int] = []

    def counted(values: list[float]) -> float:
        asked.append(len(values))
        return sorted(values)[(len(values) - 1) // 2]

    monkeypatch.setattr(estimates_module, "median", counted)
    known = Estimates()
    for ended in (3.0, 5.0, 9.0):
        known.learn(one.cell, ended, None)
    assert known.remaining([one, two] * 1000, [], slots=1) == 5.0 * 2000
    assert asked == [3]
    known.learn(two.cell, 1.0, None)
    assert known.remaining([one, two], [], slots=1) == 3.0 * 2
    assert asked == [3, 4]


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.2, "5 s"), (100, "2 min"), (5400, "1 h 30 min"), (90_000, "25 h 0 min")]
)
def test_the_time_left_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_fail_fast_starts_no_more_and_the_next_run_goes_on(tmp_path: Path, bad_plugins: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(
        'name = "few"\nbudget = { steps = 5 }\nseeds = 2\nmetrics = { nll = { n = 20 } }\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
        'models = [{ name = "raises" }, { name = "well" }]\n'
    )
    arguments = ["run", str(file), "--out", str(tmp_path / "out"), "--plugin", str(bad_plugins), "-j", "1"]
    first = CliRunner().invoke(main, [*arguments, "--fail-fast", "--json"])
    assert first.exit_code == 1
    assert "1 failed, so no more cells were started" in first.stderr
    frame = make_frame(tmp_path / "out")
    assert frame["outcome"].tolist() == ["error", "interrupted", "interrupted", "interrupted"]
    second = CliRunner().invoke(main, [*arguments, "--max-failures", "3"])
    assert second.exit_code == 1
    assert set(make_frame(tmp_path / "out")["outcome"]) == {"error", "ok"}


def make_frame(path: Path) -> pd.DataFrame:
    return trilemma.load_results(path).drop_duplicates("cell")
