"""A cell is blamed for what it did, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma

Suites = Callable[..., dict[str, Any]]
Run = Callable[..., pd.DataFrame]
Outcomes = Callable[[pd.DataFrame], dict[str, str]]
JOBS = Path(__file__).parent.with_name("job_plugins.py")


@pytest.mark.slow
def test_a_cell_that_kills_the_zygote_is_blamed_alone(
    tmp_path: Path, suite: Suites, run: Run, outcomes: Outcomes
) -> None:
    values = suite("kills-zygote", "takes-a-while", "well", "realnvp")
    frame = run(values, tmp_path)
    expected = {"kills-zygote": "killed", "takes-a-while": "ok", "well": "ok", "realnvp": "ok"}
    assert outcomes(frame) == expected
    row = frame.set_index("label").loc["kills-zygote"]
    assert row["phase"] == "fit"
    assert "ended 3 times while it ran this cell and no other" in row["message"]


def test_an_exit_without_a_record_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suites, run: Run, outcomes: Outcomes
) -> None:
    values = suite("leaves", "leaves-late")
    frame = run(values, tmp_path)
    assert outcomes(frame) == {"leaves": "error", "leaves-late": "ok"}
    assert "without recording its training" in frame.set_index("label").loc["leaves", "message"]

    # The results of the first run must not pass as those of the second.
    monkeypatch.setenv("TRILEMMA_TEST_LEAVE", "1")
    frame = run(values, tmp_path, rerun=True)
    assert outcomes(frame) == {"leaves": "error", "leaves-late": "error"}
    rows = frame[frame["label"] == "leaves-late"]
    assert rows.loc[rows["metric"] == "nll", "outcome"].tolist() == ["ok"]
    failed = rows[rows["outcome"] == "error"]
    assert failed["message"].str.contains("without recording 1 of its 2 evaluations").all()
    assert failed["phase"].tolist() == ["evaluate direct"]

    monkeypatch.delenv("TRILEMMA_TEST_LEAVE")
    assert outcomes(run(values, tmp_path)) == {"leaves": "error", "leaves-late": "ok"}


def test_loaders_obey_the_limits_of_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suites, outcomes: Outcomes
) -> None:
    monkeypatch.setenv("TRILEMMA_TEST_CODE", "time.sleep(600)")
    values = suite("gaussian", limits={"seconds": 1}) | {"datasets": [{"name": "does"}]}
    frame = trilemma.run(values, out=tmp_path, plugins=[JOBS])
    assert outcomes(frame) == {"gaussian": "error"}
    assert frame["message"].str.contains("loading the dataset ended as timeout").all()
