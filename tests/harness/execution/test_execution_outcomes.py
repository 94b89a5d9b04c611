"""Every way in which a cell can end is a row, and nothing else is harmed."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.processes import jobs, supervisor
from trilemma.harness.execution.progress import Silent
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Suites = Callable[..., Suite]
Run = Callable[..., pd.DataFrame]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]


class Messages(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def test_every_ending_is_a_row_and_the_rest_is_unharmed(
    tmp_path: Path, suite: Suites, outcomes: Outcomes, bad_plugins: Path
) -> None:
    models = ("well", "raises", "nan", "shape", "killed-late", "exits", "images-only", "realnvp")
    messages = Messages()
    runner = make_runner(suite(*models), out=tmp_path, plugins=[bad_plugins], jobs=2, progress=messages)
    runner.run()
    frame = trilemma.load_results(tmp_path)
    assert outcomes(frame) == {
        "well": "ok",
        "raises": "error",
        "nan": "diverged",
        "shape": "error",
        "killed-late": "killed",
        "exits": "error",
        "images-only": "unsupported",
        "realnvp": "ok",
    }
    rows = frame.set_index("label")
    assert rows.loc["raises", "phase"] == "fit"
    assert "no <b>luck</b> today" in rows.loc["raises", "message"]
    assert "exited with code 3" in rows.loc["exits", "message"]
    assert "shape (50, 7), expected (50, 2)" in " ".join(rows.loc[["shape"], "message"].dropna())
    # A model that trains well and fails to sample keeps its likelihood.
    for label in ("nan", "killed-late"):
        good = rows.loc[label]
        assert good.loc[good["metric"] == "nll", "outcome"].tolist() == ["ok"]
        assert good.loc[good["metric"] == "w2"].empty
    assert rows.loc["killed-late"].query("outcome == 'killed'")["phase"].tolist() == ["evaluate direct"]
    assert any("observers may fail" in text for text in messages.texts)
    assert "no <b>luck</b> today" in Store(tmp_path).log_tail(rows.loc["raises", "cell"])


def test_limits_end_a_cell_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suites, run: Run, outcomes: Outcomes
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 1.0)
    started = time.monotonic()
    frame = run(suite("well", "sleeps", "hogs", limits={"seconds": 8, "memory_gib": 1.2}), tmp_path)
    assert outcomes(frame) == {"well": "ok", "sleeps": "timeout", "hogs": "out-of-memory"}
    assert time.monotonic() - started < 40, "a process that ignores TERM must be killed"
    assert "8 s" in frame.set_index("label").loc["sleeps", "message"]


def test_a_dataset_that_raises_fails_its_own_cells_only(tmp_path: Path, suite: Suites, run: Run) -> None:
    values = suite("well")
    values["datasets"].append({"name": "bad-data"})
    frame = run(values, tmp_path).set_index("dataset")
    assert frame.loc[["ring8"], "outcome"].eq("ok").all()
    assert frame.loc["bad-data", "outcome"] == "error"
    assert "the file is gone" in frame.loc["bad-data", "message"]


def test_a_disk_that_is_full_for_a_moment_costs_one_cell_a_message_and_no_result(
    tmp_path: Path, suite: Suites, bad_plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = jobs.write_new, iter([True])

    def full_once(file: Path, content: bytes, **options: Any) -> None:
        if json.loads(content)["kind"] == "cell" and next(left, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file, content, **options)

    monkeypatch.setattr(jobs, "write_new", full_once)
    messages = Messages()
    options: dict[str, Any] = {"out": tmp_path / "out", "plugins": [bad_plugins], "jobs": 1}
    make_runner(suite("well", "gaussian"), progress=messages, **options).run()
    frame = trilemma.load_results(tmp_path / "out").drop_duplicates("cell")
    assert sorted(frame["outcome"]) == ["interrupted", "ok"]
    assert any("was not run" in text and "No space left" in text for text in messages.texts)
    assert set(trilemma.run(suite("well", "gaussian"), **options)["outcome"]) == {"ok"}
