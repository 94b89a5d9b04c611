"""Numbers that are means over the same test points are compared by their differences at these points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import trilemma
from trilemma.harness.analysis.changes import changes
from trilemma.harness.analysis.moderated import Arms
from trilemma.harness.analysis.points import block_means
from trilemma.harness.analysis.within import paired

Array = NDArray[np.float64]
POINTS, BLOCKS, SEEDS, MODELS = 320, 32, 3, 8
SHIFT = 0.08  # less than the error of an NLL by its test points, and more than that of a difference


def likelihoods(rng: np.random.Generator, shifts: Any) -> Array:
    """The NLL at test points, (models, seeds, points): how hard a point is for all models, and what is their own."""
    size = (len(shifts), SEEDS, POINTS)
    hard, own = rng.normal(size=POINTS), 0.2 * rng.normal(size=(len(shifts), 1, POINTS))
    of_seed = 0.01 * rng.normal(size=(len(shifts), SEEDS, 1))
    return np.broadcast_to(hard, size) + own + of_seed + np.asarray(shifts)[:, None, None]


def arms(nll: Array, *, blocks: bool = True, offset: float | None = None) -> Arms:
    means = list(nll.reshape(*nll.shape[:2], BLOCKS, -1).mean(3).mean(1))
    errors = nll.std(2, ddof=1).mean(1) / POINTS**0.5
    return Arms(list(nll.mean(2)), errors, offset=offset, blocks=means if blocks else ())


def tables(count: int, shifts: Any) -> Iterator[Array]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield likelihoods(rng, shifts)


@pytest.mark.parametrize("offset", [None, 3.0])
def test_what_the_points_do_to_all_models_cancels(offset: float | None) -> None:
    lift = 0.0 if offset is None else 6.0  # far above the lowest value, where the logarithm is nearly linear
    shifts = lift + np.array([0.0, SHIFT])
    seen = [[arms(nll, blocks=b, offset=offset).not_worse([0, 1])[1] == [0] for b in (True, False)]
            for nll in tables(60, shifts)]  # fmt: skip
    told, untold = np.mean(seen, 0)
    assert told > 0.9
    assert untold < 0.2


def test_identical_models_are_seldom_told_apart_at_the_same_points() -> None:
    count, most = 600, 0.10
    refused = [len(arms(nll).not_worse(range(MODELS))[1]) < MODELS for nll in tables(count, np.zeros(MODELS))]
    assert np.mean(refused) <= most + 2.5 * np.sqrt(most * (1 - most) / count)


def test_constants_are_compared_with_the_error_of_the_points() -> None:
    rng, values = np.random.default_rng(1), [np.full(SEEDS, 1.0), np.full(SEEDS, 1.05)]
    hard, own = rng.normal(size=BLOCKS), 0.2 * rng.normal(size=BLOCKS)
    near = Arms(values, np.full(2, 0.2), blocks=[1.0 + hard, 1.05 + hard + own - own.mean()])
    error = own.std(ddof=1) / BLOCKS**0.5
    assert near.difference_error(1, 0) == pytest.approx((error, BLOCKS - 1), rel=1e-4)
    assert near.not_worse([0, 1])[1] == [0, 1]
    assert Arms(values, np.full(2, 0.2), blocks=[1.0 + hard, 1.05 + hard]).not_worse([0, 1])[1] == [0]


def test_twins_that_differ_by_rounding_are_not_told_apart() -> None:
    hard = np.random.default_rng(1).normal(size=BLOCKS)
    twins = Arms([np.full(SEEDS, 1.0), np.full(SEEDS, 1.0 + 3e-9)], np.full(2, 0.2), blocks=[hard, hard])
    assert twins.not_worse([0, 1])[1] == [0, 1]


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_error_of_the_points_does_not_fall_with_the_seeds(seeds: int) -> None:
    """Four sampler settings of one model with equal true means: few are told apart from the best."""
    rng, count, most, refused = np.random.default_rng(seeds), 400, 0.10, 0
    keys = [range(seeds)] * 4
    for _ in range(count):
        points = 0.2 * rng.normal(size=(4, 1, POINTS)) + rng.normal(size=POINTS)
        nll = points + 0.003 * rng.normal(size=(4, seeds, 1))
        refused += len(paired(arms(nll), range(4), keys)[1]) < 4
    assert refused / count <= most + 2.5 * np.sqrt(most * (1 - most) / count)


def test_two_runs_are_compared_at_the_same_points() -> None:
    one, other = likelihoods(np.random.default_rng(2), [0.0, SHIFT])
    before, after = (pd.DataFrame(rows("a", nll)) for nll in (one, other))
    assert [record["status"] for record in changes(before, after)] == ["worse"]
    assert [record["status"] for record in changes(before, after.assign(data_id="two"))] == ["no difference"]


def test_the_resolution_is_that_of_differences() -> None:
    (nll,) = tables(1, 0.1 * np.arange(MODELS))
    with_points, without = (arms(nll, blocks=b).resolution(range(MODELS)) for b in (True, False))
    assert with_points is not None
    assert without is not None
    assert 0.02 < with_points < 0.5 * without


def rows(label: str, nll: Array, **more: Any) -> list[dict[str, Any]]:
    """Results of an NLL (seeds, points) of a model."""
    about = {
        "model": label, "label": label, "dataset_id": "digits", "data_id": "one", "budget": "10 s", "device": "cpu",
        "metric": "nll", "better": "lower", "group": "likelihood", "place": "first", "outcome": "ok", "n": POINTS,
        "title": "NLL", "likelihood": "exact",
    }  # fmt: skip
    half = 1.96 * nll.std(1) / POINTS**0.5
    return [
        about | {
            "cell": f"{label}-{seed}", "seed": seed, "value": float(own.mean()), "ci_low": own.mean() - half[seed],
            "ci_high": own.mean() + half[seed],
            "details": json.dumps({"block_means": own.reshape(BLOCKS, -1).mean(1).tolist()}),
        } | more
        for seed, own in enumerate(nll)
    ]  # fmt: skip


def best(*records: list[dict[str, Any]]) -> set[str]:
    found = trilemma.verdicts(pd.DataFrame([row for model in records for row in model]))
    (said,) = [verdict for verdict in found if verdict["criterion"].startswith("likelihood")]
    return {line["label"] for line in said["best"]}


def test_verdicts_pair_the_points_only_if_they_are_the_same() -> None:
    one, other = likelihoods(np.random.default_rng(2), [0.0, SHIFT])
    assert best(rows("a", one), rows("b", other)) == {"a"}
    assert best(rows("a", one), rows("b", other, data_id="two")) == {"a", "b"}
    assert best(rows("a", one), rows("b", other, details="{}")) == {"a", "b"}
    wrong = json.dumps({"block_means": [99.0] * BLOCKS})
    assert best(rows("a", one, details=wrong), rows("b", other, details=wrong)) == {"a", "b"}


@pytest.mark.parametrize(
    "found", [None, 1.0, [1.0], [1.0, "1"], [1.0] * 7, [1.0] * 7 + [float("nan")], [0.0, 1.0] * 8, [[1.0]] * 8]
)
def test_means_over_blocks_must_be_numbers_whose_mean_is_the_value(found: Any) -> None:
    assert block_means({"block_means": found}, 1.0) is None


def test_means_over_blocks_are_taken_as_they_are() -> None:
    assert block_means({"block_means": [0.0, 2.1] * 4}, 1.0) == [0.0, 2.1] * 4
