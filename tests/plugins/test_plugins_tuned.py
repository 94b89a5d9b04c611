"""The kept records of tuning: each is of a built-in model, and holds the defaults that the model has now."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from trilemma.harness.plugins import Registry
from trilemma.harness.tuning.space import search_space

FOLDER = Path(__file__).parents[2] / "plugins" / "tuned"


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_there_is_a_record() -> None:
    assert list(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_defaults_are_among_those_that_the_record_compares(path: Path) -> None:
    record, registry = read(path), Registry(builtin_only=True)
    assert path.stem == f"{record['model']}-{record['dataset']}"
    assert record["dataset"] in registry.names("datasets")
    model = registry.get("models", record["model"])
    space = [f"{key}={text}" for key, text in record["space"].items()]
    searched = [axis for axis in search_space(model, space) if not axis.fixed]
    now = {axis.key: "none" if axis.default is None else axis.default for axis in searched}
    compared = [{key: options[key] for key in now} for options in (record["default"], record["best"]["options"])]
    assert now in compared, (
        f"the defaults of {record['model']} are neither those that {path.name} started from nor the best that it found;"
        f" make it again: {record['command']} --save plugins/tuned/{path.name}"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_best_trial_has_the_best_value(path: Path) -> None:
    record = read(path)
    values = {trial["number"]: trial["value"] for trial in record["trials"] if "value" in trial}
    best = min(values.values()) if record["better"] == "lower" else max(values.values())
    assert record["best"]["value"] == best == values[record["best"]["trial"]]
    assert record["trials"][0]["options"] == record["default"], "the first trial has the defaults"
    assert len(record["trials"]) >= 10
