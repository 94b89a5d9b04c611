"""The observers against the real packages: what TensorBoard, MLflow and Weights & Biases read of a run afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.cli import main
from trilemma.plugins.observers import cells

pytestmark = pytest.mark.usefixtures("unreported")

TINY = {
    "name": "tiny",
    "budget": {"steps": 5},
    "datasets": [{"name": "ring8", "config": {"n_train": 200, "n_valid": 50, "n_test": 100}}],
    "models": [{"name": "realnvp", "config": {"transforms": 2}}],
    "metrics": {"nll": {"n": 50}, "wasserstein": {"n": 50, "draws": 2}},
}
INSTALLED = [name for name in ("tensorboard", "mlflow", "wandb") if find_spec(name)]


def needs(name: str) -> None:
    if name not in INSTALLED:
        pytest.skip(f"the package {name} is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a run that every installed package has observed, without a network."""
    out = tmp_path_factory.mktemp("observed") / "run"
    before = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
        os.environ.pop(name, None)
    trilemma.run(TINY, out=out, observers=INSTALLED)
    yield out
    os.environ.clear()
    os.environ.update(before)


def value(run: Path, metric: str) -> float:
    frame = trilemma.load_results(run)
    return float(frame.loc[frame["metric"] == metric, "value"].iloc[0])


def test_tensorboard_reads_curves_and_numbers(run: Path) -> None:
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (run / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert "curves/loss" in tags
    assert "numbers/w2/direct" in tags
    assert events.Scalars("numbers/nll")[0].value == pytest.approx(value(run, "nll"), rel=1e-6)


def test_mlflow_reads_parameters_numbers_and_the_outcome(run: Path) -> None:
    needs("mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient((run / "mlruns").as_uri())
    experiment: Any = client.get_experiment_by_name("run")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name.startswith("realnvp(transforms=2) on ring8")
    assert found.info.status == "FINISHED"
    assert found.data.params["model"] == "realnvp"
    assert found.data.params["config.transforms"] == "2"
    assert found.data.metrics["nll"] == pytest.approx(value(run, "nll"))
    assert found.data.metrics["w2/direct"] == pytest.approx(value(run, "w2"))
    assert client.get_metric_history(found.info.run_id, "curves/loss")


def test_wandb_writes_a_run_that_can_be_synchronized_later(run: Path) -> None:
    needs("wandb")
    (folder,) = (run / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    assert trilemma.load_results(run)["cell"].iloc[0][:64] in file.name
    content = file.read_bytes()
    assert b"curves/loss" in content
    assert b"w2/direct" in content
    assert b"realnvp" in content


def test_the_folders_of_observers_do_no_harm_to_the_run_directory(run: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(run)])
    assert result.exit_code == 0, result.output


def test_what_is_computed_again_is_reported_again_and_once(run: Path) -> None:
    needs("tensorboard")
    from trilemma.plugins.observers.tensorboard import TensorBoard

    frame = trilemma.load_results(run)
    nothing = TensorBoard()
    nothing.trilemma_run_started([{"id": frame["cell"].iloc[0], "todo": False}])
    assert nothing.trilemma_run_finished(run, frame) == []
    again = TensorBoard()
    again.trilemma_run_started([{"id": frame["cell"].iloc[0], "todo": True}])
    (folder,) = again.trilemma_run_finished(run, frame)
    assert len(list(folder.glob("events*"))) == 1


def test_an_observer_without_its_package_stops_the_run_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["run", "smoke", "--out", str(tmp_path / "run"), "--observer", "mlflow"])
    assert result.exit_code == 2
    assert "pip install 'trilemma[mlflow]'" in result.output
    assert not (tmp_path / "run").exists()
    result = CliRunner().invoke(main, ["run", "smoke", "--out", str(tmp_path / "run"), "--observer", "mlflw"])
    assert result.exit_code == 2
    assert "did you mean 'mlflow'" in result.output


def test_names_of_others_make_no_path(tmp_path: Path) -> None:
    label = "../../x\x1b[31m(a='/etc')"
    row = {
        **{"cell": "0" * 20, "label": label, "dataset_id": "..", "model": "x", "dataset": "d", "seed": 0},
        **{"budget": "5 steps", "device": "cpu", "steps": 5, "config": "{}", "outcome": "error", "metric": None},
        **{"value": None, "sampler": None},
    }
    (cell,) = cells.reported(tmp_path, pd.DataFrame([row]))
    assert "/" not in cell.folder
    assert not cell.folder.startswith(".")
    assert "\x1b" not in cell.label
    assert cell.outcome == "error"
