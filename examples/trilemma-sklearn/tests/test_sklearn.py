"""The wrapper keeps the contract of a model, and learns more than the noise that it starts from."""

from collections.abc import Callable
from typing import Any

import pytest
from trilemma_sklearn.model import LinearFactors

import trilemma


@pytest.mark.parametrize("check", trilemma.conformance_checks(LinearFactors), ids=str)
def test_conformance(check: trilemma.Check) -> None:
    check()


def test_it_stands_in_a_table(trilemma_suite: dict[str, Any], trilemma_run: Callable[..., Any]) -> None:
    trilemma_suite["models"] = [{"name": "factor-analysis"}, {"name": "oracle"}]
    frame = trilemma_run(trilemma_suite, budget="20steps")
    found = frame[(frame["model"] == "factor-analysis") & (frame["metric"] == "w2")]
    assert list(found["outcome"]) == ["ok"]
    assert found["value"].iloc[0] < 10
