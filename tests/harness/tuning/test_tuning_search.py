"""The search in its journal: it goes on after an interruption, and refuses what is not its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import trilemma
from trilemma.harness.contracts.tunable import Choices, Interval
from trilemma.harness.tuning.search import Search, Trial
from trilemma.harness.tuning.space import Axis

pytest.importorskip("optuna")

AXES = (
    Axis("recipe", "lr", Interval(1e-4, 1e-2, True, False), "log:1e-4:1e-2", 1e-3),
    Axis("config", "hidden", Choices(([64], [64, 64])), "[64]|[64, 64]", [64]),
    Axis("config", "layers", Interval(1, 9, False, True), "1:9", 4),
)


def search(file: Path, **more: Any) -> Search:
    return Search(file, {"model": "m"}, AXES, **{"seed": 3, "maximize": False, **more})


def value(trial: Trial) -> float:
    return float(1e3 * trial.values["recipe.lr"] + trial.values["config.layers"])


def run(found: Search, count: int) -> list[Trial]:
    asked = []
    for _ in range(count):
        asked.append(found.ask())
        found.tell(asked[-1], value(asked[-1]))
    return asked


def test_an_interrupted_search_proposes_what_it_would_have_proposed(tmp_path: Path) -> None:
    whole = run(search(tmp_path / "whole"), 14)
    parts = [trial for count in (1, 4, 9) for trial in run(search(tmp_path / "parts"), count)]
    assert parts == whole
    assert whole[0].values == {"recipe.lr": 1e-3, "config.hidden": [64], "config.layers": 4}
    assert len({str(trial.values) for trial in whole}) > 10
    # Tree-structured Parzen estimates after the tenth trial find better options than random draws.
    assert min(map(value, whole[10:])) <= min(map(value, whole[1:10]))
    ended = search(tmp_path / "parts").ended()
    assert [(trial.number, trial.values, trial.value) for trial in ended] == [
        (trial.number, trial.values, value(trial)) for trial in whole
    ]


def test_trials_that_were_not_told_are_open_and_a_cut_line_is_dropped(tmp_path: Path) -> None:
    first = search(tmp_path / "journal")
    run(first, 2)
    asked = [first.ask(), first.ask()]
    with (tmp_path / "journal").open("ab") as stream:
        stream.write(b'{"op_code": 6, "worker_id": "a kill came')
    again = search(tmp_path / "journal")
    assert again.open_trials() == asked
    again.tell(asked[1], None, "diverged: loss")
    again.tell(asked[0], 1.5)
    assert [(trial.number, trial.value, trial.why) for trial in search(tmp_path / "journal").ended()[2:]] == [
        (2, 1.5, ""),
        (3, None, "diverged: loss"),
    ]


def test_another_search_and_a_damaged_journal_are_refused(tmp_path: Path) -> None:
    run(search(tmp_path / "journal"), 1)
    with pytest.raises(trilemma.StoreError, match="another model"):
        Search(tmp_path / "journal", {"model": "n"}, AXES, seed=3, maximize=False)
    (tmp_path / "damaged").write_bytes(b"no journal\n" + (tmp_path / "journal").read_bytes())
    with pytest.raises(trilemma.StoreError, match="cannot be read"):
        search(tmp_path / "damaged")


@pytest.mark.parametrize("step", ["enqueue_trial", "set_user_attr"])
def test_a_kill_at_the_start_does_not_lose_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"optuna.study.Study.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "journal")
    assert search(tmp_path / "journal").ask().values == {"recipe.lr": 1e-3, "config.hidden": [64], "config.layers": 4}


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(trilemma.TrilemmaError, match=r"pip install 'trilemma\[tune\]'"):
        search(tmp_path / "journal")
