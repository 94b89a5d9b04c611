"""Network evaluations that cannot be known, and counts that contradict the rest of the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trilemma


def test_a_network_that_is_never_evaluated_has_no_count(sketch: Any) -> None:
    found = sketch(lambda m, n, g: torch.randn(n, 2, generator=g), nn.Linear(2, 2)).counted_nfe
    assert found.value is None
    assert found.details == {"unknown": "no marked network is evaluated"}
    assert not found.marks


def test_a_model_without_networks_has_no_count(sketch: Any) -> None:
    assert sketch(lambda m, n, g: torch.randn(n, 2, generator=g)).nfe is None


def test_weights_that_are_used_unequally_often_outside_calls_have_no_count(sketch: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        x = F.linear(torch.randn(n, 2, generator=generator), net[0].weight)
        return F.linear(F.linear(x, net[1].weight), net[1].weight)

    assert sketch(draw, net).nfe is None


def test_weights_that_may_be_used_for_several_tokens_of_a_sample_have_no_count(sketch: Any) -> None:
    net = nn.Linear(1, 1)
    assert sketch(lambda m, n, g: F.linear(torch.randn(n, 2, 1, generator=g), net.weight)[..., 0], net).nfe is None


def test_a_large_network_beside_a_small_marked_one_is_a_contradiction(sketch: Any) -> None:
    small, large = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 2))

    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        x = small(torch.randn(n, 2, generator=generator))
        for _ in range(10):
            x = large(x)
        return x

    found = sketch(draw, small, large=large).counted_nfe
    assert found.value == 1
    (mark,) = found.marks
    share = 10 * 4 * 2 * 64 / (10 * 4 * 2 * 64 + 2 * 2 * 2)
    assert mark == f"NFE at odds with FLOPs: {share:.0%} of the FLOPs are not those of the marked networks"
    assert sketch(draw, small).counted_nfe.marks, "also if the large network is hidden"
    assert not sketch(draw, small, large).counted_nfe.marks


def cached() -> Callable[[Any, int, torch.Generator], Tensor]:
    """Ten evaluations at first; later the same samples again, as far as there are enough."""
    kept: list[Tensor] = []

    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        if not kept or len(kept[-1]) < n:
            x = torch.randn(n, 2, generator=generator)
            for _ in range(10):
                x = model.net(x)
            kept.append(x)
        return kept[-1][:n]

    return draw


@pytest.mark.parametrize("first", [[], [100], [100, 50], [50, 100], [5, 100]])
def test_a_cache_lowers_no_count_and_is_marked(sketch: Any, first: list[int]) -> None:
    evaluation = sketch(cached(), net := nn.Linear(2, 2), net=net)
    for draw, n in enumerate(first):
        evaluation.samples(n, draw)
    found = evaluation.counted_nfe
    assert found.value == 10
    assert found.marks[0].startswith("NFE at odds with FLOPs: 10 evaluations per sample in one draw, 0 ")


def test_a_cache_is_marked_also_if_flops_are_counted_before_samples_are_drawn(sketch: Any) -> None:
    evaluation = sketch(cached(), net := nn.Linear(2, 2), net=net)
    assert evaluation.flops()[0] == 10 * 2 * 2 * 2
    evaluation.samples(100)
    assert evaluation.counted_nfe.marks


def test_an_error_of_the_model_is_raised_as_it_is(sketch: Any) -> None:
    class OddError(Exception): ...

    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        net(torch.zeros(n, 2))
        raise OddError

    evaluation = sketch(draw, net := nn.Linear(2, 2))
    for compute in (evaluation.flops, lambda: evaluation.nfe, lambda: evaluation.samples(5), lambda: evaluation.work):
        with pytest.raises(OddError):
            compute()
    net(torch.zeros(1, 2))


def test_a_model_whose_operations_cannot_be_seen_is_counted_by_its_calls(sketch: Any) -> None:
    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        if torch._C._len_torch_dispatch_stack():
            raise RuntimeError("not inside a mode")
        return net(torch.randn(n, 2, generator=generator))

    evaluation = sketch(draw, net := nn.Linear(2, 2))
    assert evaluation.nfe == 1
    with pytest.raises(trilemma.UnsupportedError, match="cannot be counted: not inside a mode"):
        evaluation.flops()


def test_counting_leaves_networks_as_they_were(sketch: Any) -> None:
    evaluation = sketch(lambda m, n, g: net(torch.randn(n, 2, generator=g)), net := nn.Linear(2, 2))
    before = dict(vars(net)), dict(vars(nn.Linear))
    assert evaluation.nfe == 1
    assert (dict(vars(net)), dict(vars(nn.Linear))) == before


def test_the_profiler_of_the_user_is_there_again_afterwards(sketch: Any) -> None:
    import sys

    def profiler(*event: object) -> None: ...

    sys.setprofile(profiler)
    try:
        assert sketch(lambda m, n, g: net(torch.randn(n, 2, generator=g)), net := nn.Linear(2, 2)).nfe == 1
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def test_the_work_of_a_sample_is_flops_and_written_values(sketch: Any) -> None:
    evaluation = sketch(lambda m, n, g: net(torch.randn(n, 2, generator=g)), net := nn.Linear(2, 2, bias=False))
    assert evaluation.flops()[0] == 2 * 2 * 2
    assert evaluation.work == 2 * 2 * 2 + 2 + 2 + 2, "noise, output and its double precision, two values each"
