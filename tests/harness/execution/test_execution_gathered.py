"""A result that a table cannot show rightly is an error of its metric, and the other metrics keep their results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trilemma
from trilemma.harness.execution.gathered import Gathered

METRICS = '''
import numpy as np
import trilemma

class Copies(trilemma.Metric):
    """Gives a name of the built-in Wasserstein metric."""
    name = "copies"
    def compute(self, evaluation):
        return [trilemma.Result(metric="w2", value=100.0)]

class Arrays(trilemma.Metric):
    """Gives an array."""
    name = "arrays"
    def compute(self, evaluation):
        return [trilemma.Result(metric="arrays", value=1.0, details={"a": np.zeros(2)})]

@trilemma.hookimpl
def trilemma_metrics():
    return [Copies, Arrays]
'''


def make_metric(name: str, *quantities: str) -> type[trilemma.Metric]:
    """A metric with quantities of these names."""
    listed = tuple(trilemma.Quantity(name=quantity) for quantity in quantities)
    return type(name, (trilemma.Metric,), {"name": name, "quantities": listed, "compute": lambda self, evaluation: []})


def result(name: str, **more: Any) -> trilemma.Result:
    """A result with this name."""
    return trilemma.Result(metric=name, value=1.0, **more)


TRANSPORT, MINE, OTHER = make_metric("transport", "w2", "sliced"), make_metric("mine"), make_metric("other")


@pytest.fixture
def gathered() -> Gathered:
    """No results yet, of an evaluation with a metric that lists its quantities and two that do not."""
    return Gathered({cls.name: cls for cls in (TRANSPORT, MINE, OTHER)})


def test_a_name_of_another_metric_is_refused_whichever_comes_first(gathered: Gathered) -> None:
    with pytest.raises(trilemma.PluginError, match=r"'mine' gave a result named 'w2', .* of metric 'transport'"):
        gathered.add([result("own"), result("w2")], MINE(), 0)
    assert gathered.records == []
    gathered.add([result("w2"), result("sliced")], TRANSPORT(), 1)
    gathered.add([result("shared")], MINE(), 2)
    with pytest.raises(trilemma.PluginError, match=r"'other' gave a result named 'shared', .* of metric 'mine'"):
        gathered.add([result("shared")], OTHER(), 3)
    told = [(record["metric"], record["computed_by"], record["order"]) for record in gathered.records]
    assert told == [("w2", "transport", 100), ("sliced", "transport", 101), ("shared", "mine", 200)]


def test_a_name_may_be_given_once_for_each_likelihood_kind(gathered: Gathered) -> None:
    gathered.add([result("gap", likelihood="exact"), result("gap", likelihood="bound")], MINE(), 0)
    with pytest.raises(trilemma.PluginError, match="'other' gave two results named 'x'; give each"):
        gathered.add([result("x"), result("x")], OTHER(), 1)
    with pytest.raises(trilemma.PluginError, match="two results named 'x' of the likelihood kind 'exact'"):
        gathered.add([result("x", likelihood="exact"), result("x", likelihood="exact")], OTHER(), 1)
    assert len(gathered.records) == 2


@pytest.mark.parametrize("name", ["", "two words", "[bold]x"])
def test_names_are_plain(gathered: Gathered, name: str) -> None:
    with pytest.raises(trilemma.PluginError, match="a quantity is named"):
        gathered.add([result(name)], MINE(), 0)


@pytest.mark.parametrize("wrong", [np.zeros(2), {1, 2}, {(1, 2): 3}, np.int64(1)])
def test_details_must_be_json(gathered: Gathered, wrong: Any) -> None:
    with pytest.raises(trilemma.PluginError, match="metric 'mine' gave details of 'x' that JSON cannot hold"):
        gathered.add([result("x", details={"a": wrong})], MINE(), 0)
    assert gathered.records == []


def test_mistaken_metrics_are_errors_and_the_others_keep_their_results(
    tmp_path: Path, suite: Callable[..., dict[str, Any]]
) -> None:
    plugin = tmp_path / "mistaken.py"
    plugin.write_text(METRICS)
    values = suite("gaussian")
    values["metrics"] = {"copies": {}, "arrays": {}, **values["metrics"]}
    frame = trilemma.run(values, out=tmp_path / "run", plugins=[plugin])
    failed = frame[frame["outcome"] == "error"]
    assert len(failed) == 2
    assert "'w2', which is a result of metric 'wasserstein'" in " ".join(failed["message"])
    assert "details of 'arrays' that JSON cannot hold" in " ".join(failed["message"])
    (value,) = frame.loc[frame["metric"] == "w2", "value"]
    assert value < 50
    assert "nll" in set(frame["metric"])
