"""A budget in seconds covers all of a training, and who passes it far is marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trilemma

Suites = Callable[..., dict[str, Any]]

PLUGIN = '''
"""Models that take their time."""

import time

import torch
from torch import nn

import trilemma


def burn(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


class Ignores(trilemma.Model):
    """Looks at no clock."""

    name = "ignores"

    def fit(self, train, ctx):
        burn(1.3)

    def sample(self, n, ctx):
        return torch.zeros(n, *ctx.info.shape)


class Control(Ignores):
    """A control."""

    name = "controls"
    control = True


class SetsUp(trilemma.NeuralModel):
    """Spends most of its budget before the first step."""

    name = "sets-up"

    def build(self, info):
        self.net = nn.Linear(info.dim, 1)

    def initialize(self, train, ctx):
        burn(0.8)

    def loss(self, x, ctx):
        return self.net(x).square().mean()

    def sample(self, n, ctx):
        return torch.zeros(n, *ctx.info.shape)


@trilemma.hookimpl
def trilemma_models():
    return [Ignores, Control, SetsUp]
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "slow_models.py"
    file.write_text(PLUGIN)
    return file


def test_a_budget_covers_what_is_set_up_and_a_model_that_ignores_it_is_marked(
    tmp_path: Path, suite: Suites, plugin: Path
) -> None:
    values = suite("ignores", "controls", budget={"seconds": 0.1}, metrics={"training_cost": {}})
    frame = trilemma.run(values, out=tmp_path / "a", plugins=[plugin], jobs=1)
    found = frame[frame["metric"] == "train_seconds"].set_index("label")
    over = {label: json.loads(told)["over_budget_seconds"] for label, told in found["details"].items()}
    assert min(over.values()) > 1.1
    assert found.loc["ignores", "marks"].startswith("over budget: 1.")
    assert found.loc["ignores", "marks"].endswith(" s of 0.1 s")
    assert found.loc["controls", "marks"] == ""
    assert frame.loc[frame["metric"] != "train_seconds", "marks"].eq("").all()


def test_what_a_model_sets_up_is_part_of_its_budget_and_a_repeat_takes_the_same_steps(
    tmp_path: Path, suite: Suites, plugin: Path
) -> None:
    values = suite("sets-up", budget={"seconds": 1.0}, metrics={"training_cost": {}})
    told = []
    for rerun in (False, True):
        frame = trilemma.run(values, out=tmp_path / "b", plugins=[plugin], jobs=1, rerun=rerun)
        row = frame[frame["metric"] == "train_seconds"].iloc[0]
        told.append((row["steps"], json.loads(row["details"])["over_budget_seconds"]))
    assert told[0][1] < 0.5, "the steps would take a second of their own"
    assert told[0] == told[1], "a repeat is charged what the first training took"
