"""Runs: every way a cell can end is a row, nothing else is harmed, and what is done is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trilemma
from trilemma.harness.api import make_runner
from trilemma.harness.execution.progress import Silent
from trilemma.harness.store.store import Store

BAD = Path(__file__).parents[1] / "bad_plugins.py"


def suite(*models: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "test",
        "budget": {"steps": 20},
        "limits": {"seconds": 60, "memory_gib": 4},
        "datasets": [{"name": "ring8", "config": {"n_train": 500, "n_valid": 100, "n_test": 300}}],
        "models": [{"name": name} for name in models],
        "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
        **more,
    }


def run(values: dict[str, Any], out: Path, **more: Any) -> pd.DataFrame:
    return trilemma.run(values, out=out, plugins=[BAD], jobs=2, **more)


def outcomes(frame: pd.DataFrame) -> dict[str, str]:
    """The worst outcome of each model."""
    return {
        str(label): next((o for o in group["outcome"] if o != "ok"), "ok") for label, group in frame.groupby("label")
    }


class Messages(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def test_every_ending_is_a_row_and_the_rest_is_unharmed(tmp_path: Path) -> None:
    models = ("well", "raises", "nan", "shape", "killed-late", "exits", "images-only", "realnvp")
    messages = Messages()
    runner = make_runner(suite(*models), out=tmp_path, plugins=[BAD], jobs=2, progress=messages)
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


def test_limits_end_a_cell_and_no_other(tmp_path: Path) -> None:
    limits = {"seconds": 8, "memory_gib": 1.2}
    started = time.monotonic()
    frame = run(suite("well", "sleeps", "hogs", limits=limits), tmp_path)
    assert outcomes(frame) == {"well": "ok", "sleeps": "timeout", "hogs": "out-of-memory"}
    assert time.monotonic() - started < 45, "a process that ignores TERM must be killed"
    message = frame.set_index("label").loc["sleeps", "message"]
    assert "8 s" in message


def test_a_dataset_that_raises_fails_its_own_cells_only(tmp_path: Path) -> None:
    values = suite("well")
    values["datasets"].append({"name": "bad-data"})
    frame = run(values, tmp_path).set_index("dataset")
    assert frame.loc[["ring8"], "outcome"].eq("ok").all()
    assert frame.loc["bad-data", "outcome"] == "error"
    assert "the file is gone" in frame.loc["bad-data", "message"]


def test_a_kill_fails_one_cell_and_a_rerun_equals_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    todo = make_runner(values, out=tmp_path / "b", plugins=[BAD]).dry_run()
    assert [(item.cell.model.name, item.why) for item in todo] == [("killed", "ended as killed last time")]
    again = run(values, tmp_path / "b")
    columns = ["label", "seed", "sampler", "metric", "value", "ci_low", "ci_high", "floor", "n", "nfe", "outcome"]
    pd.testing.assert_frame_equal(again[columns], undisturbed[columns], check_exact=True)


def test_what_is_done_is_not_done_again_and_new_metrics_never_retrain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    monkeypatch.setenv("TRILEMMA_TEST_COUNT", str(count))
    values = suite("counts")
    first = run(values, tmp_path / "run")
    assert count.read_text() == "fit\n"
    assert make_runner(values, out=tmp_path / "run", plugins=[BAD]).run() == []
    values["metrics"]["wasserstein"]["n"] = 40
    values["metrics"]["training_cost"] = {}
    todo = make_runner(values, out=tmp_path / "run", plugins=[BAD]).dry_run()
    assert [(item.train, item.why) for item in todo] == [(False, "new evaluations")]
    second = run(values, tmp_path / "run")
    assert count.read_text() == "fit\n"
    assert second.set_index("metric").loc["w2", "n"] == 40
    value = [frame.set_index("metric").loc["nll", "value"] for frame in (first, second)]
    assert value[0] == value[1]
    run(values, tmp_path / "run", rerun=True)
    assert count.read_text() == "fit\nfit\n"


def test_a_restored_checkpoint_gives_the_same_numbers_as_the_trained_model(tmp_path: Path) -> None:
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


def test_a_budget_in_seconds_is_spent_and_a_repeat_takes_the_same_steps_to_the_same_weights(tmp_path: Path) -> None:
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


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    with (
        Store(tmp_path).writing(),
        pytest.raises(trilemma.StoreError, match="another run is using"),
    ):
        run(suite("well"), tmp_path)


def test_an_unknown_device_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(trilemma.TrilemmaError, match="no device 'tpu'"):
        run(suite("well"), tmp_path / "out", device="tpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_stops_cleanly_and_keeps_finished_cells(signals: int, tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(
        'name = "slow"\nbudget = { steps = 5 }\nmetrics = { nll = { n = 20 } }\n'
        'datasets = [{ name = "ring8", config = { n_train = 100, n_test = 50 } }]\n'
        'models = [{ name = "well" }, { name = "slow" }]\n'
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "trilemma", "run", str(file), "--plugin", str(BAD), "--out", str(out), "-j", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not _slow_is_fitting(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    frame = trilemma.load_results(out)
    assert outcomes(frame) == {"well": "ok", "slow": "interrupted"}
    assert signals > 1 or (out / "report.html").exists()
    assert not _children_of(out)


def _slow_is_fitting(out: Path) -> bool:
    for events in out.glob("tmp/job-*/events.jsonl"):
        job = json.loads(events.with_name("job.json").read_text())
        if job.get("model", {}).get("name") == "slow" and '"fit"' in events.read_text():
            return True
    return False


def _children_of(out: Path) -> list[str]:
    """Processes that still have the run's log open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if os.readlink(link).startswith(str(out)):
                found.append(str(link))
        except OSError:
            continue
    return found


def test_a_changed_file_is_new_data_and_a_touched_one_is_not(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).double().numpy()
    np.savetxt(table, rows, delimiter=",")
    values = suite("well")
    values["datasets"] = [{"name": "file", "config": {"path": str(table)}}]

    def todo() -> list[str]:
        return [item.why for item in make_runner(values, out=tmp_path / "run", plugins=[BAD]).dry_run()]

    assert run(values, tmp_path / "run")["outcome"].eq("ok").all()
    assert todo() == []
    os.utime(table)
    assert todo() == []
    np.savetxt(table, rows[::-1] * 2, delimiter=",")
    assert todo() == ["new"]
