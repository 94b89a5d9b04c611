"""Tuning with options that do not go together, with what a command line leaves out, and what is kept afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.harness.tuning.api import make_tuner
from trilemma.harness.tuning.objective import objective_of

pytest.importorskip("optuna")

PLUGINS = Path(__file__).with_name("tune_plugins.py")


def tune(out: Path, model: str = "scaled", **options: Any) -> trilemma.Tuned:
    options = {"budget": "1steps", "trials": 2, "further": 0, **options}
    return trilemma.tune(model, "two", out=out, plugins=[PLUGINS], **options)


def test_options_that_the_model_refuses_together_are_a_failed_trial(tmp_path: Path) -> None:
    options = {"space": ["scale=0.5:4.0", "careful=true|false"], "trials": 9}
    found = tune(tmp_path / "run", "paired", **options)
    assert [trial.number for trial in found.trials] == list(range(9))
    refused = [trial for trial in found.trials if trial.values["config.careful"] and trial.values["config.scale"] < 2]
    assert refused
    assert refused == [trial for trial in found.trials if trial.value is None]
    assert all("a careful scale is 2 or more" in trial.why for trial in refused)
    assert tune(tmp_path / "run", "paired", **options).trials == found.trials
    with pytest.raises(trilemma.TrilemmaError, match="a careful scale"):  # fixed options: there is nothing to search
        tune(tmp_path / "other", "paired", space=["scale=1.0", "careful=true"])


def test_a_model_of_a_search_is_restored(tmp_path: Path) -> None:
    found = tune(tmp_path / "run", config={"test_at": 1e6})
    assert found.default.value is not None
    (cell, *_) = sorted(set(trilemma.load_results(tmp_path / "run")["cell"]))
    model = trilemma.load_model(tmp_path / "run", cell, plugins=[PLUGINS])
    samples = model.sample(5)
    assert samples.shape == (5, 2)
    assert np.abs(samples).max() < 100


def test_a_folder_that_does_not_exist_is_found_before_the_search(
    tmp_path: Path, command: Callable[..., Result]
) -> None:
    words = ["tune", "scaled", "--dataset", "two", "--plugin", PLUGINS, "--budget", "1steps", "--out", tmp_path / "run"]
    result = command(*words, "--save", tmp_path / "none" / "kept.toml")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_command_names_what_is_not_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(**options: Any) -> list[str]:
        return make_tuner("scaled", "two", plugins=[PLUGINS], **options).command().split()

    monkeypatch.chdir(tmp_path)
    words = made(device="cuda:1", limit=2.5)
    for option, value in (("--device", "cuda:1"), ("--limit", "2.5"), ("--plugin", str(PLUGINS))):
        assert words[words.index(option) + 1] == value
    assert not {"--device", "--limit"} & set(made())
    monkeypatch.chdir(PLUGINS.parent)
    assert made()[-1] == PLUGINS.name
    assert "--plugin" not in make_tuner("nice", "ring8").command()


def test_the_default_in_the_record_is_what_the_first_trial_ran(tmp_path: Path) -> None:
    record = tomllib.loads(tune(tmp_path / "run", space=["scale=0.5:4.0", "fails_above=8.0"]).text())
    assert record["default"] == record["trials"][0]["options"] == {"config.scale": 2.5, "config.fails_above": 8.0}


def test_a_grid_of_datasets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(trilemma.TrilemmaError, match="one dataset"):
        make_tuner("scaled", "two", plugins=[PLUGINS], config={"test_at": [0.0, 1.0]})


def test_a_score_is_an_objective_without_a_likelihood() -> None:
    registry = Registry(builtin_only=True)
    ncsn = registry.get("models", "ncsn")
    assert ncsn.likelihood == "none"
    assert objective_of(ncsn, registry, "score_error").metric == "score_error"
    with pytest.raises(trilemma.TrilemmaError, match="no likelihood"):
        objective_of(ncsn, registry, "nll")
