"""How fast flows are beside zuko, nflows, normflows and their plain selves, in CPU seconds of this process, one thread.

Equal sizes: eight transforms, conditioners of 64-64, eight bins, batches of 256 points in the plane. Run on an idle
machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.coupling import Couplings
from trilemma.plugins.flows.flow import Flow
from trilemma.plugins.flows.fused import FusedCouplings
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.planar import Planar, Radial
from trilemma.plugins.flows.spline import rational_quadratic
from trilemma.plugins.flows.transforms import affine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

HIDDEN, TRANSFORMS, BINS = (64, 64), 8, 8
LogProb = Callable[[Tensor], Tensor]
Draw = Callable[[int], Tensor]


def ours(kind: str) -> tuple[nn.Module, LogProb, Draw]:
    elementwise = fused_affine(3.0) if kind == "realnvp" else fused_rational_quadratic(BINS, 5.0)
    return ends(Flow([FusedCouplings(2, TRANSFORMS, elementwise, HIDDEN)], StandardNormal((2,))))


def plain(kind: str) -> tuple[nn.Module, LogProb, Draw]:
    elementwise = affine(3.0) if kind == "realnvp" else rational_quadratic(BINS, 5.0)
    return ends(Flow([Couplings(2, TRANSFORMS, elementwise, HIDDEN)], StandardNormal((2,))))


def ends(flow: Flow) -> tuple[nn.Module, LogProb, Draw]:
    generator = torch.Generator().manual_seed(0)
    return flow, flow.log_prob, lambda n: flow.sample(n, generator)[0]


def zuko(kind: str) -> tuple[nn.Module, LogProb, Draw]:
    flows = pytest.importorskip("zuko").flows
    options: dict[str, Any] = {"transforms": TRANSFORMS, "hidden_features": HIDDEN}
    flow = flows.RealNVP(2, **options) if kind == "realnvp" else flows.NSF(2, bins=BINS, passes=2, **options)
    return flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,))


def normflows(kind: str) -> tuple[nn.Module, LogProb, Draw]:
    nf = pytest.importorskip("normflows")
    layers: list[nn.Module] = []
    for _ in range(TRANSFORMS):
        if kind == "realnvp":
            layers.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([1, *HIDDEN, 2], init_zeros=True)))
        else:
            layers.append(nf.flows.CoupledRationalQuadraticSpline(2, 2, HIDDEN[0], num_bins=BINS, tail_bound=5))
        layers.append(nf.flows.Permute(2, mode="swap"))
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(2, trainable=False), layers)
    return flow, flow.log_prob, lambda n: flow.sample(n)[0]


def nflows(kind: str) -> tuple[nn.Module, LogProb, Draw]:
    pytest.importorskip("nflows")
    from nflows.distributions.normal import StandardNormal as Base
    from nflows.flows.base import Flow as PeerFlow
    from nflows.nn.nets import MLP
    from nflows.transforms import (
        AffineCouplingTransform,
        CompositeTransform,
        PiecewiseRationalQuadraticCouplingTransform,
    )

    class Network(MLP):  # type: ignore[misc]
        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__([n_in], [n_out], list(HIDDEN))

        def forward(self, x: Tensor, context: None = None) -> Tensor:
            return super().forward(x)  # type: ignore[no-any-return]

    layers = []
    for i in range(TRANSFORMS):
        mask = [i % 2, 1 - i % 2]
        if kind == "realnvp":
            layers.append(AffineCouplingTransform(mask, Network))
        else:
            layers.append(
                PiecewiseRationalQuadraticCouplingTransform(
                    mask, Network, num_bins=BINS, tails="linear", tail_bound=5.0
                )
            )
    flow = PeerFlow(CompositeTransform(layers), Base([2]))
    return flow, flow.log_prob, flow.sample


PEERS = {"zuko": zuko, "nflows": nflows, "normflows": normflows}


def steps_per_second(model: nn.Module, log_prob: LogProb, steps: int = 60) -> float:
    x = torch.randn(256, 2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return 1 / timed(step, steps)


@torch.no_grad()
def milliseconds(call: Callable[[], object]) -> float:
    return 1e3 * timed(call, 10)


def timed(call: Callable[[], object], times: int) -> float:
    for _ in range(3):
        call()
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def against_zuko(rounds: list[tuple[float, float]]) -> str:
    return "; ".join(f"{mine:.0f} against zuko's {theirs:.0f} steps/s" for mine, theirs in rounds)


@pytest.mark.parametrize("kind", ["realnvp", "nsf-coupling"])
def test_training_takes_half_the_time_of_zuko(kind: str) -> None:
    model, log_prob, _ = ours(kind)
    peer, peer_log_prob, _ = zuko(kind)
    rounds = [(steps_per_second(model, log_prob), steps_per_second(peer, peer_log_prob)) for _ in range(3)]
    print(f"{kind}: {against_zuko(rounds)}")
    assert max(mine / theirs for mine, theirs in rounds) >= 2


@pytest.mark.parametrize("kind", ["realnvp", "nsf-coupling"])
def test_fused_couplings_train_faster_than_plain_ones(kind: str) -> None:
    (model, log_prob, _), (peer, peer_log_prob, _) = ours(kind), plain(kind)
    rounds = [(steps_per_second(model, log_prob), steps_per_second(peer, peer_log_prob)) for _ in range(3)]
    print(f"{kind}: " + "; ".join(f"fused {mine:.0f}, plain {theirs:.0f} steps/s" for mine, theirs in rounds))
    assert max(mine / theirs for mine, theirs in rounds) >= 1.15


@pytest.mark.parametrize("kind", ["realnvp", "nsf-coupling"])
def test_densities_and_draws_are_not_slower_than_the_fastest_peer(kind: str) -> None:
    x = torch.randn(10_000, 2)

    def both(made: tuple[nn.Module, LogProb, Draw]) -> tuple[float, float]:
        _, log_prob, draw = made
        return milliseconds(lambda: log_prob(x)), milliseconds(lambda: draw(10_000))

    mine = both(ours(kind))
    theirs = {name: both(make(kind)) for name, make in PEERS.items()}
    mine = min(mine, both(ours(kind)))
    print(f"{kind}, ms for 10,000 densities and draws: ours {mine}, {theirs}")
    assert mine[0] <= 1.05 * min(values[0] for values in theirs.values())
    assert mine[1] <= 1.05 * min(values[1] for values in theirs.values())


@pytest.mark.parametrize("kind", [Planar, Radial])
def test_four_times_as_many_planar_layers_take_less_than_three_times_the_time(
    kind: type[Planar] | type[Radial],
) -> None:
    few, many = (ends(Flow([kind(2, count)], StandardNormal((2,)))) for count in (8, 32))
    rounds = [tuple(1e3 / steps_per_second(model, log_prob) for model, log_prob, _ in (few, many)) for _ in range(3)]
    print(f"{kind.__name__}: " + "; ".join(f"8 layers {a:.2f}, 32 layers {b:.2f} ms" for a, b in rounds))
    assert min(b / a for a, b in rounds) <= 3


def test_a_compiled_coupling_spline_takes_a_fifth_of_the_time_of_zuko() -> None:
    model, log_prob, _ = ours("nsf-coupling")
    start = time.perf_counter()
    compiled = torch.compile(log_prob, fullgraph=True)
    steps_per_second(model, compiled, 1)
    warm_up = time.perf_counter() - start
    peer, peer_log_prob, _ = zuko("nsf-coupling")
    rounds = [(steps_per_second(model, compiled), steps_per_second(peer, peer_log_prob)) for _ in range(3)]
    print(f"compiled, after {warm_up:.0f} s of warm-up: {against_zuko(rounds)}")
    assert max(mine / theirs for mine, theirs in rounds) >= 5
