"""What is done is not done again, and what is done again gives the same numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from trilemma.harness.api import make_runner
from trilemma.harness.store.store import Store

Suite = dict[str, Any]
Suites = Callable[..., Suite]
Run = Callable[..., pd.DataFrame]


@pytest.mark.slow
def test_a_kill_fails_one_cell_and_a_rerun_equals_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suites, run: Run, bad_plugins: Path
) -> None:
    values = suite("killed", "realnvp", "vp-sde", seeds=2)
    values["models"][2]["samplers"] = [{"name": "euler-maruyama", "steps": 5}]
    undisturbed = run(values, tmp_path / "a")
    assert undisturbed["outcome"].eq("ok").all()
    monkeypatch.setenv("TRILEMMA_TEST_KILL", str(tmp_path / "marker"))
    disturbed = run(values, tmp_path / "b")
    bad = disturbed[disturbed["outcome"] != "ok"]
    assert bad[["model", "outcome"]].values.tolist() == [["killed", "killed"]]
    assert len(disturbed[disturbed["outcome"] == "ok"]["cell"].unique()) == 5
    todo = make_runner(values, out=tmp_path / "b", plugins=[bad_plugins]).dry_run()
    assert [(item.cell.model.name, item.why) for item in todo] == [("killed", "ended as killed last time")]
    again = run(values, tmp_path / "b")
    columns = ["label", "seed", "sampler", "metric", "value", "ci_low", "ci_high", "floor", "n", "nfe", "outcome"]
    pd.testing.assert_frame_equal(again[columns], undisturbed[columns], check_exact=True)


def test_what_is_done_is_not_done_again_and_new_metrics_never_retrain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: Suites, run: Run, bad_plugins: Path
) -> None:
    count = tmp_path / "count"
    monkeypatch.setenv("TRILEMMA_TEST_COUNT", str(count))
    values = suite("counts")
    first = run(values, tmp_path / "run")
    assert count.read_text() == "fit\n"
    assert make_runner(values, out=tmp_path / "run", plugins=[bad_plugins]).run() == []
    values["metrics"]["wasserstein"]["n"] = 40
    values["metrics"]["training_cost"] = {}
    todo = make_runner(values, out=tmp_path / "run", plugins=[bad_plugins]).dry_run()
    assert [(item.train, item.why) for item in todo] == [(False, "new evaluations")]
    second = run(values, tmp_path / "run")
    assert count.read_text() == "fit\n"
    assert second.set_index("metric").loc["w2", "n"] == 40
    value = [frame.set_index("metric").loc["nll", "value"] for frame in (first, second)]
    assert value[0] == value[1]
    run(values, tmp_path / "run", rerun=True)
    assert count.read_text() == "fit\nfit\n"


@pytest.mark.slow
def test_a_restored_checkpoint_gives_the_same_numbers_as_the_trained_model(
    tmp_path: Path, suite: Suites, run: Run
) -> None:
    values = suite("realnvp", "vp-sde", "gmm", "kde", "memorizer", "oracle", "gaussian")
    values["models"][1]["samplers"] = [{"name": "heun", "steps": 3}]
    values["metrics"] = {"nll": {"n": 50}}
    first = run(values, tmp_path)
    values["metrics"] = {"nll": {"n": 50}, "training_cost": {}}
    second = run(values, tmp_path)
    columns = ["label", "metric", "value"]
    nll = [frame[frame["metric"] == "nll"][columns].reset_index(drop=True) for frame in (first, second)]
    pd.testing.assert_frame_equal(nll[0], nll[1], check_exact=True)
    assert len(nll[0]) == 7


def test_a_budget_in_seconds_is_spent_and_a_repeat_takes_the_same_steps_to_the_same_weights(
    tmp_path: Path, suite: Suites, run: Run
) -> None:
    values = suite("realnvp", budget={"seconds": 1.0})
    values["metrics"] = {"training_cost": {}}
    first = run(values, tmp_path)
    weights = Store(tmp_path).tensors("cells", first["cell"].iloc[0], "model")
    assert first["metric"].eq("train_seconds").any()
    assert first.set_index("metric").loc["train_seconds", "value"] < 3
    second = run(values, tmp_path, rerun=True)
    assert first["steps"].iloc[0] == second["steps"].iloc[0] > 1
    repeated = Store(tmp_path).tensors("cells", first["cell"].iloc[0], "model")
    assert weights is not None
    assert repeated is not None
    assert all(torch.equal(weights[name], repeated[name]) for name in weights)


def test_a_changed_file_is_new_data_and_a_touched_one_is_not(
    tmp_path: Path, suite: Suites, run: Run, bad_plugins: Path
) -> None:
    table = tmp_path / "table.csv"
    rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).double().numpy()
    np.savetxt(table, rows, delimiter=",")
    values = suite("well")
    values["datasets"] = [{"name": "file", "config": {"path": str(table)}}]

    def todo() -> list[str]:
        return [item.why for item in make_runner(values, out=tmp_path / "run", plugins=[bad_plugins]).dry_run()]

    assert run(values, tmp_path / "run")["outcome"].eq("ok").all()
    assert todo() == []
    os.utime(table)
    assert todo() == []
    np.savetxt(table, rows[::-1] * 2, delimiter=",")
    assert todo() == ["new"]
