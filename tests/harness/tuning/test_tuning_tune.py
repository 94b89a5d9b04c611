"""Tuning: values are of the validation split, the test split is out of reach, an interruption loses nothing."""

from __future__ import annotations

import json
import math
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

import trilemma
from trilemma.harness.execution.progress import Silent
from trilemma.harness.planning.cell import Cell
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry
from trilemma.harness.tuning.api import make_tuner

pytest.importorskip("optuna")

PLUGINS = Path(__file__).with_name("tune_plugins.py")


def tune(out: Path, model: str = "scaled", **options: Any) -> trilemma.Tuned:
    options = {"budget": "1steps", "trials": 6, "further": 0, **options}
    if not {"progress", "told"} & set(options):
        return trilemma.tune(model, "two", out=out, plugins=[PLUGINS], **options)
    tuner = make_tuner(model, "two", out=out, plugins=[PLUGINS], **options)
    tuned = tuner.run()
    if tuner.interrupted:
        raise KeyboardInterrupt
    assert tuned is not None
    return tuned


def validation_nll(scale: float) -> float:
    """The mean NLL of validation points in data space, written out."""
    train, valid = (torch.randn(60, 2, generator=torch.Generator().manual_seed(k)).double() for k in range(2))
    y = (valid - train.mean(0)) / train.std(0)
    nll = math.log(2 * math.pi * scale**2) + (y**2).sum(1).mean() / (2 * scale**2)
    return float(nll + train.std(0).log().sum())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> trilemma.Tuned:
    return tune(tmp_path_factory.mktemp("tuned") / "run", trials=14, further=2)


def test_values_are_the_nll_of_the_validation_split(tuned: trilemma.Tuned) -> None:
    assert len(tuned.trials) == 14
    assert tuned.trials[0].values == {"config.scale": 2.5}
    for trial in tuned.trials:
        assert trial.value == pytest.approx(validation_nll(trial.values["config.scale"]), rel=1e-5)
    best = min(tuned.trials, key=lambda trial: validation_nll(trial.values["config.scale"]))
    assert tuned.best == best
    assert 0.6 < best.values["config.scale"] < 1.6
    assert tuned.comparison is not None
    assert tuned.comparison.difference == pytest.approx(best.value - tuned.default.value)  # it learns nothing
    assert tuned.comparison.better(lower_is_better=True)


@pytest.mark.parametrize("objective", ["nll", "peek", "energy"])
def test_the_test_split_is_out_of_reach(tmp_path: Path, objective: str) -> None:
    found = [tune(tmp_path / str(at), objective=objective, config={"test_at": at}, trials=2) for at in (0.0, 1e6)]
    assert [trial.value for trial in found[0].trials] == [trial.value for trial in found[1].trials]
    assert found[0].best == found[1].best
    assert all(trial.value is not None and abs(trial.value) < 100 for trial in found[1].trials)


def test_models_without_likelihood_are_judged_by_their_samples(tmp_path: Path) -> None:
    found = tune(tmp_path / "run", "wide", space=["scale=1.0|2.5"], trials=5)
    assert (found.request["objective"], found.request["sampler"]) == ("energy", "direct")
    assert found.best.values["config.scale"] == 1.0
    with pytest.raises(trilemma.TrilemmaError, match="no likelihood"):
        tune(tmp_path / "other", "wide", objective="nll")


def test_failing_options_are_worst_and_failing_defaults_end_the_search(tmp_path: Path) -> None:
    space = ["scale=0.5:4.0", "fails_above=2.6"]
    found = tune(tmp_path / "run", space=space, trials=8)
    failed = [trial for trial in found.trials if trial.value is None]
    assert failed
    assert all(trial.values["config.scale"] > 2.6 and "too large" in trial.why for trial in failed)
    assert found.best.value is not None
    with pytest.raises(trilemma.TrilemmaError, match=r"default options of 'scaled' give no value.*too large"):
        tune(tmp_path / "other", space=["scale=0.5:4.0", "fails_above=1.0"])
    with pytest.raises(trilemma.TrilemmaError, match="default options of 'scaled' give no value"):
        tune(tmp_path / "other", space=["scale=0.5:4.0", "fails_above=1.0"])


def test_trials_run_beside_each_other_with_several_seeds(tmp_path: Path, tuned: trilemma.Tuned) -> None:
    found = tune(tmp_path / "run", jobs=4, seeds=2, trials=5)
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3, 4]
    for trial in found.trials:
        assert trial.value == pytest.approx(validation_nll(trial.values["config.scale"]), rel=1e-5)
    assert len(list((tmp_path / "run").glob("cells/*"))) == 10
    assert found.request["seeds"] == [0, 1]


class Interrupting(Silent):
    """Presses Ctrl-C when the third training starts."""

    count = 0

    def cell_started(self, cell: Cell) -> None:
        self.count += 1
        if self.count == 3:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_search_goes_on_and_ends_as_if_it_had_not_been_interrupted(
    tmp_path: Path, tuned: trilemma.Tuned
) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "run", progress=Interrupting(), trials=6)
    record = tomllib.loads((tmp_path / "run" / "tuned.toml").read_text())
    assert [trial["number"] for trial in record["trials"]] == [0, 1]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("cells/*/record.json")}
    again = tune(tmp_path / "run", trials=6)
    assert again.trials == tuned.trials[:6]
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was finished is not trained again"
    assert tune(tmp_path / "run", trials=6).trials == again.trials
    assert len(tune(tmp_path / "run", trials=7).trials) == 7
    with pytest.raises(trilemma.StoreError, match="another budget"):
        tune(tmp_path / "run", budget="2steps")


def test_a_search_in_use_is_refused(tmp_path: Path) -> None:
    def nested(trial: Any, best: Any) -> None:
        with pytest.raises(trilemma.StoreError, match="another search is using"):
            tune(tmp_path / "run")

    assert tune(tmp_path / "run", trials=1, told=nested).trials


def test_the_record_and_the_fragment_can_be_read_back(tuned: trilemma.Tuned) -> None:
    record = tomllib.loads(tuned.text())
    assert record["objective"] == "nll"
    assert record["best"]["options"] == tuned.best.values
    assert record["space"] == {"config.scale": "0.5:4.0"}
    assert record["default"] == {"config.scale": 2.5}
    assert record["command"].startswith("trilemma tune scaled --dataset two --trials 14 --budget 1steps --seeds 1")
    assert [trial["value"] for trial in record["trials"]] == [trial.value for trial in tuned.trials]
    assert record["comparison"]["seeds"] == [1_000_000, 1_000_001]
    assert set(record["versions"]) == {"python", "trilemma", "torch", "optuna"}
    values = tomllib.loads(tuned.fragment())
    suite = {"name": "s", "budget": {"steps": 1}, "datasets": [{"name": "two"}], "metrics": {"nll": {}}, **values}
    (model,) = resolve(read_document(suite), Registry([PLUGINS])).models
    assert model.config["scale"] == tuned.best.values["config.scale"]


def test_the_command_prints_a_table_a_fragment_and_json(tmp_path: Path, command: Callable[..., Result]) -> None:
    arguments = ["tune", "scaled", "--dataset", "two", "--plugin", PLUGINS, "--budget", "1steps", "--trials", "3"]
    arguments += ["--out", tmp_path / "run", "--save", tmp_path / "kept.toml", "--further", "2", "--set", "test_at=5.0"]
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert "0 (defaults)" in result.stdout
    assert "trial 2 " in result.stderr
    assert (tmp_path / "kept.toml").read_text() == (tmp_path / "run" / "tuned.toml").read_text()
    record = json.loads(command(*arguments, "--json").stdout)
    assert record["config"] == {"test_at": 5.0}
    assert len(record["trials"]) == 3
    wrong = command("tune", "scald", "--dataset", "two", "--plugin", PLUGINS)
    assert wrong.exit_code == 2
    assert "did you mean 'scaled'" in wrong.stderr


def test_a_wrong_name_stops_before_anything_is_written(tmp_path: Path) -> None:
    for options in ({"sampler": "none-such"}, {"objective": "none-such"}, {"config": {"test": 1}}):
        with pytest.raises(trilemma.TrilemmaError):
            make_tuner("scaled", "two", out=tmp_path / "run", plugins=[PLUGINS], **options)
    assert not (tmp_path / "run").exists()
