"""Network evaluations per sample: the true number, however a model evaluates its network.

Each case evaluates a network on every sample a number of times that can be read off its code.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Draw = Callable[[Any, int, torch.Generator], Tensor]
STEPS = 10


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2))


def steps(evaluate: Callable[[Any, Tensor], Tensor]) -> Draw:
    """Draw noise and evaluate ten times."""

    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        x = torch.randn(n, 2, generator=generator)
        for _ in range(STEPS):
            x = evaluate(model, x)
        return x

    return draw


def functional(layers: Any, x: Tensor) -> Tensor:
    """The network as a function of its weights."""
    w, b, v, c = layers
    return F.linear(F.silu(F.linear(x, w, b)), v, c)


def batches(model: Any, x: Tensor) -> Tensor:
    return torch.cat([model.net(part) for part in x.split(7)])


def guided(model: Any, x: Tensor) -> Tensor:
    with_label, without = model.net(torch.cat([x, -x])).chunk(2)
    return 2 * with_label - without


def through_numpy(model: Any, x: Tensor) -> Tensor:
    return functional([torch.from_numpy(p.detach().numpy().copy()) for p in model.net.parameters()], x)


def saved(model: Any, x: Tensor) -> Tensor:
    file = io.BytesIO()
    torch.save(model.net.state_dict(), file)
    file.seek(0)
    other = network()
    other.load_state_dict(torch.load(file))
    return other(x)


def gradient(model: Any, x: Tensor) -> Tensor:
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(model.net(y).square().sum(), y)
    return slope


@torch.no_grad()
def given_output(model: Any, x: Tensor) -> Tensor:
    hidden, last = model.net[:2](x), model.net[2]
    return torch.addmm(last.bias, hidden, last.weight.T, out=torch.empty(len(x), 2))


EVALUATIONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], float]] = {
    "call": (lambda m, x: m.net(x), 10),
    "forward": (lambda m, x: m.net.forward(x), 10),
    "keyword": (lambda m, x: m.net(input=x), 10),
    "functional": (lambda m, x: functional(m.net.parameters(), x), 10),
    "functional call": (lambda m, x: torch.func.functional_call(m.net, dict(m.net.named_parameters()), x), 10),
    "layers one by one": (lambda m, x: m.net[2](m.net[1](m.net[0](x))), 10),
    "matrix products": (lambda m, x: F.silu(x @ m.net[0].weight.T) @ m.net[2].weight.T, 10),
    "einsum": (lambda m, x: torch.einsum("nh,oh->no", F.silu(F.linear(x, m.net[0].weight)), m.net[2].weight), 10),
    "copy in each step": (lambda m, x: copy.deepcopy(m.net)(x), 10),
    "double copy": (lambda m, x: copy.deepcopy(m.net).double()(x.double()).float(), 10),
    "half weights": (lambda m, x: functional([p.bfloat16() for p in m.net.parameters()], x.bfloat16()).float(), 10),
    "state dict": (lambda m, x: functional([p.clone() for p in m.net.state_dict().values()], x), 10),
    "pickled": (lambda m, x: pickle.loads(pickle.dumps(m.net))(x), 10),
    "saved and loaded": (saved, 10),
    "through numpy": (through_numpy, 10),
    "batches": (batches, 10),
    "guidance": (guided, 20),
    "one sample at a time": (lambda m, x: torch.stack([m.net(row) for row in x]), 10),
    "vmap": (lambda m, x: torch.func.vmap(m.net)(x), 10),
    "no_grad": (lambda m, x: torch.no_grad()(m.net)(x), 10),
    "inference mode": (lambda m, x: torch.inference_mode()(m.net)(x).clone(), 10),
    "gradient": (gradient, 10),
    "half of the steps functional": (lambda m, x: functional(m.net.parameters(), m.net(x)), 20),
    "given output": (given_output, 10),
}


@pytest.mark.parametrize("case", EVALUATIONS)
def test_evaluations_are_counted_however_the_network_is_evaluated(sketch: Any, case: str) -> None:
    evaluate, expected = EVALUATIONS[case]
    found = sketch(steps(evaluate), net := network(), net=net).counted_nfe
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert not found.marks


def test_real_draws_count_as_small_ones(sketch: Any) -> None:
    for evaluate in (batches, lambda m, x: m.net(x), lambda m, x: functional(m.net.parameters(), x)):
        evaluation = sketch(steps(evaluate), net := network(), net=net)
        evaluation.samples(300)
        assert evaluation.nfe == 10


def test_traced_and_scripted_networks_are_counted_by_their_weights(sketch: Any) -> None:
    net = network()
    traced = torch.jit.trace(net, torch.randn(1, 2), check_trace=False)
    for compiled in (traced, torch.jit.script(net)):
        found = sketch(steps(lambda m, x: m.compiled(x)), net, compiled=compiled).counted_nfe
        assert found.value == 10
        assert found.details["counted"] == "weights"
        assert sketch(steps(lambda m, x: m.compiled(x)), compiled, compiled=compiled).nfe == 10


def test_a_trace_inside_sample_costs_the_rows_that_it_evaluates(sketch: Any) -> None:
    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        traced = torch.jit.trace(model.net, torch.zeros(1, 2), check_trace=False)
        return steps(lambda m, x: traced(x))(model, n, generator)

    value = sketch(draw, net := network(), net=net).nfe
    assert 10 < value <= 10 + 1 / 500, "one row more for each draw, divided by the samples of a large draw"
    scripted = steps(lambda m, x: torch.jit.script(m.net)(x))
    assert sketch(scripted, net, net=net).nfe == 10


@pytest.mark.skipif(torch.__version__ < "2.5", reason="torch 2.4 gives up compiling; NFE is then not computed")
def test_compiled_networks_are_counted(sketch: Any) -> None:
    net = network()
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        for marked in (net, compiled):
            evaluation = sketch(steps(lambda m, x: compiled(x)), marked)
            evaluation.samples(100)
            assert evaluation.nfe == 10


class Columns(nn.Module):
    """A network on points in columns, `(features, points)`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2) / 2)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return scale * torch.tanh(self.weight @ x)


class Source(nn.Module):
    """A network that draws its own noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, *, n: int, generator: torch.Generator) -> Tensor:
        return self.layer(torch.randn(n, 3, generator=generator))


def test_points_on_another_axis_are_found(sketch: Any) -> None:
    net = Columns()
    assert sketch(steps(lambda m, x: m.net(x.T).T), net, net=net).nfe == 10
    parts = steps(lambda m, x: torch.cat([m.net(part.T, scale=0.5).T for part in x.split(8)]))
    evaluation = sketch(parts, net, net=net)
    evaluation.samples(1000)
    assert evaluation.nfe == 10
    doubled = steps(lambda m, x: m.net(torch.cat([x, x]).T).T[: len(x)])
    assert sketch(doubled, net, net=net).nfe == 20


def test_a_network_that_is_called_without_a_tensor_counts_what_it_returns(sketch: Any) -> None:
    evaluation = sketch(lambda m, n, g: m.net(n=n, generator=g) + m.net(n=n, generator=g), net := Source(), net=net)
    evaluation.samples(64)
    assert evaluation.nfe == 2


def test_a_network_evaluated_on_fewer_and_fewer_samples_counts_what_is_evaluated(sketch: Any) -> None:
    def draw(model: Any, n: int, generator: torch.Generator) -> Tensor:
        x = torch.randn(n, 2, generator=generator)
        for left in range(n, 0, -1):  # sample i is evaluated i + 1 times
            x[n - left :] = model.evaluate(x[n - left :])
        return x

    net = network()
    by_calls = sketch(draw, net, evaluate=net)
    by_calls.samples(21)
    assert by_calls.nfe == 11, "the mean of 1 to 21"


def test_the_most_evaluated_of_several_networks_counts(sketch: Any) -> None:
    first, second = network(), nn.Linear(2, 2)
    draw = steps(lambda m, x: second(first(first(x))))
    assert sketch(draw, first, second).nfe == 20
    assert sketch(draw, marked=[first, first, second]).nfe == 20
    assert sketch(draw, marked=(net for net in (second, first))).nfe == 20


class Attention(nn.Module):
    """A network that turns a point into tokens, and attends."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(self.embed(x.unsqueeze(-1)))).squeeze(-1)


class Recurrent(nn.Module):
    """A network that reads the coordinates one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x.unsqueeze(-1))[0][:, -1])


class Convolutional(nn.Module):
    """A network on a line of two pixels, with a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = nn.Conv1d(1, 3, 3, padding=1), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(F.silu(self.conv(x.unsqueeze(1))).flatten(1))


@pytest.mark.parametrize("cls", [Attention, Recurrent, Convolutional])
def test_weights_that_are_used_several_times_in_an_evaluation_do_not_change_the_count(
    sketch: Any, cls: type[nn.Module]
) -> None:
    net = cls().eval()
    for grad in (torch.no_grad(), torch.enable_grad()):
        with grad:
            found = sketch(steps(lambda m, x: net(x)), net).counted_nfe
        assert found.value == 10
        assert not found.marks
    traced = torch.jit.trace(net, torch.zeros(3, 2), check_trace=False)
    half = steps(lambda m, x: m.traced(net(x)))
    assert sketch(half, net, traced=traced).nfe == pytest.approx(20)
