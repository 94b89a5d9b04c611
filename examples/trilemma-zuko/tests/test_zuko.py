"""The wrapper keeps the contract of a model, and learns more than the noise that it starts from."""

from collections.abc import Callable
from typing import Any

import pytest
from trilemma_zuko.model import ZukoSpline

import trilemma


@pytest.mark.parametrize("check", trilemma.conformance_checks(ZukoSpline), ids=str)
def test_conformance(check: trilemma.Check) -> None:
    check()


def test_it_stands_in_a_table(trilemma_suite: dict[str, Any], trilemma_run: Callable[..., Any]) -> None:
    trilemma_suite["models"] = [{"name": "zuko-nsf"}, {"name": "oracle"}]
    frame = trilemma_run(trilemma_suite, budget="20steps")
    found = frame[(frame["model"] == "zuko-nsf") & (frame["metric"] == "w2")]
    assert list(found["outcome"]) == ["ok"]
    assert found["value"].iloc[0] < 10
