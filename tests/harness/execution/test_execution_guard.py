"""A metric that changes the data fails by name, and no other number changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trilemma
from trilemma.harness.execution.guard import DataGuard

PLUGIN = '''
import numpy as np, torch, trilemma

class Spoiler(trilemma.Metric):
    """Changes the data in one of several ways, then gives a number."""
    name = "spoiler"
    quantities = (trilemma.Quantity(name="spoiled"),)
    class Config(trilemma.Config):
        way: str = "array"
    def compute(self, evaluation):
        real = evaluation.real(50)
        if self.config.way == "array":
            real *= 0
        if self.config.way == "samples":
            evaluation.samples(50).zero_()
            torch.from_numpy(evaluation.generate(50)).zero_()
            torch.from_numpy(real).zero_()
        if self.config.way == "tensor":
            evaluation.dataset.splits.test.mul_(0)
        if self.config.way == "numpy":
            evaluation.dataset.splits.train.numpy()[:] = 7
        if self.config.way == "raises":
            evaluation.dataset.splits.valid.mul_(2)
            raise RuntimeError("after the damage")
        if self.config.way == "replaced":
            test = evaluation.dataset.splits.test
            evaluation.dataset.splits = trilemma.Splits(test, test, test)
        return [self.quantities[0].result(1.0, evaluation.dim)]

@trilemma.hookimpl
def trilemma_metrics():
    return [Spoiler]
'''
CHANGED = "metric 'spoiler' changed the data that it was given; work on a copy"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the oracle, with the metric `spoiler` first if a way is given."""
    folder = tmp_path_factory.mktemp("guard")
    file = folder / "spoiler.py"
    file.write_text(PLUGIN)

    def once(way: str | None) -> pd.DataFrame:
        spoiler = {} if way is None else {"spoiler": {"way": way}}
        suite = {
            "name": "s",
            "budget": {"steps": 5},
            "datasets": [{"name": "ring8", "config": {"n_train": 300, "n_valid": 100, "n_test": 200}}],
            "models": [{"name": "oracle"}],
            "metrics": {**spoiler, "memorization": {"n": 100, "draws": 2}, "wasserstein": {"n": 50, "draws": 2}},
        }
        return trilemma.run(suite, out=folder / f"out-{way}", plugins=[file], jobs=1)

    return once


@pytest.fixture(scope="module")
def clean(run: Any) -> pd.DataFrame:
    """The numbers without the metric that spoils."""
    return run(None).set_index("metric")["value"]


@pytest.mark.parametrize("way", ["array", "tensor", "numpy", "raises", "replaced"])
def test_a_metric_that_changes_the_data_fails_and_no_other_number_changes(
    run: Any, clean: pd.DataFrame, way: str
) -> None:
    frame = run(way)
    failed = frame[frame["outcome"] == "error"]
    assert len(failed) == 1
    assert failed["message"].iloc[0].startswith(CHANGED)
    pd.testing.assert_series_equal(frame[frame["metric"].notna()].set_index("metric")["value"], clean)


def test_writes_into_samples_reach_no_other_metric(run: Any, clean: pd.DataFrame) -> None:
    frame = run("samples")
    assert set(frame["outcome"]) == {"ok"}
    values = frame.set_index("metric")["value"]
    assert values.pop("spoiled") == 1
    pd.testing.assert_series_equal(values, clean)


def test_errors_of_metrics_that_leave_the_data_alone_stay_as_they_are() -> None:
    class Small(trilemma.Dataset):
        """Three times the same two points."""

        name = "small"

        def load(self) -> trilemma.Splits:
            return trilemma.Splits(*(torch.tensor([[0.0], [1.0]]) for _ in range(3)))

    dataset = Small()
    guard = DataGuard(dataset, Small)
    with pytest.raises(ValueError, match="no such thing"), guard.watch("honest"):
        raise ValueError("no such thing")
    held = dataset.splits.train
    with pytest.raises(trilemma.PluginError, match="metric 'bad' changed the data"), guard.watch("bad"):
        held.numpy()[0] = np.nan
    assert held.tolist() == [[0.0], [1.0]], "restored in the tensor that others hold"
