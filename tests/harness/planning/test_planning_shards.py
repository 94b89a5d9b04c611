"""Shards are a partition of the cells of a suite: the same on every machine, complete, and balanced."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trilemma
from trilemma.harness.planning.shards import Shard, partition, select, shard_record


@dataclass(frozen=True)
class Named:
    label: str


@dataclass(frozen=True)
class Part:
    id: str
    model: Named
    dataset: Named
    seed: int


def parts(models: int, datasets: int, seeds: int, left_out: frozenset[int] = frozenset()) -> list[Part]:
    """The cells of a grid in the order of a plan, without some (datasets and models need not fit)."""
    grid = [(d, m, s) for d in range(datasets) for m in range(models) for s in range(seeds)]
    return [
        Part(f"cell-{place}", Named(f"m{m}"), Named(f"d{d}"), s)
        for place, (d, m, s) in enumerate(grid)
        if place not in left_out
    ]


grids = st.builds(
    parts, st.integers(1, 9), st.integers(1, 6), st.integers(1, 5), st.frozensets(st.integers(0, 200), max_size=40)
)


def gap(numbers: list[int], of: int) -> int:
    """The difference between the largest and the smallest shard."""
    count = Counter(numbers)
    sizes = [count[k] for k in range(1, of + 1)]
    return max(sizes) - min(sizes)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws grids slowly
@given(grids, st.integers(1, 12))
def test_every_cell_is_in_exactly_one_shard_in_the_order_of_the_suite(cells: list[Part], of: int) -> None:
    shards = [select(cells, Shard(number, of)) for number in range(1, of + 1)]
    assert sorted(cell.id for shard in shards for cell in shard) == sorted(cell.id for cell in cells)
    places = {cell.id: place for place, cell in enumerate(cells)}
    for number, shard in enumerate(shards, 1):
        assert [places[cell.id] for cell in shard] == sorted(places[cell.id] for cell in shard)
        record = shard_record(cells, Shard(number, of))
        assert record == {"number": number, "of": of, "places": {cell.id: places[cell.id] for cell in shard}}
    assert select(cells, None) == cells


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws grids slowly
@given(grids, st.integers(1, 12))
def test_shards_have_as_many_cells_and_as_many_of_each_model(cells: list[Part], of: int) -> None:
    numbers = partition(cells, of)
    assert not cells or gap(numbers, of) <= 1
    for model in {cell.model for cell in cells}:
        assert gap([k for k, cell in zip(numbers, cells, strict=True) if cell.model == model], of) <= 1


@pytest.mark.parametrize("of", [2, 3, 4, 8])
@pytest.mark.parametrize(("models", "datasets", "seeds"), [(8, 4, 3), (12, 1, 3), (8, 8, 1), (35, 6, 5), (4, 2, 2)])
def test_shards_have_their_share_of_datasets_and_seeds(models: int, datasets: int, seeds: int, of: int) -> None:
    cells = parts(models, datasets, seeds)
    numbers = partition(cells, of)
    for dataset in {cell.dataset for cell in cells}:
        assert gap([k for k, cell in zip(numbers, cells, strict=True) if cell.dataset == dataset], of) <= 4
    for seed in range(seeds):
        assert gap([k for k, cell in zip(numbers, cells, strict=True) if cell.seed == seed], of) <= 4


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws grids slowly
@given(grids, st.integers(1, 12))
def test_the_partition_does_not_depend_on_identities(cells: list[Part], of: int) -> None:
    others = [Part(f"other-{cell.id}", cell.model, cell.dataset, cell.seed) for cell in cells]
    assert partition(others, of) == partition(cells, of)


def test_more_shards_than_cells_leave_some_empty() -> None:
    cells = parts(2, 1, 1)
    assert [len(select(cells, Shard(number, 5))) for number in range(1, 6)] == [1, 1, 0, 0, 0]
    assert len(select(cells, Shard(10**8, 10**9))) == 0


@pytest.mark.parametrize("value", ["2/8", " 2 / 8 ", (2, 8), [2, 8], Shard(2, 8)])
def test_a_shard_is_read(value: Any) -> None:
    assert Shard.parse(value) == Shard(2, 8)


@pytest.mark.parametrize("value", ["0/8", "9/8", "0/0", (0, 8), (9, 8)])
def test_a_shard_that_does_not_exist_is_an_error(value: Any) -> None:
    with pytest.raises(trilemma.TrilemmaError, match=r"there is no shard \d/\d: shards are counted from 1"):
        Shard.parse(value)


@pytest.mark.parametrize(
    "value", ["x", "", "2", "2/", "-1/8", "2/8/9", "1.5/8", "٢/8", (2,), (2.0, 8), (True, 8), 2, {}]
)
def test_what_is_no_shard_is_an_error(value: Any) -> None:
    with pytest.raises(trilemma.TrilemmaError, match="give its number and how many there are, such as 2/8"):
        Shard.parse(value)
