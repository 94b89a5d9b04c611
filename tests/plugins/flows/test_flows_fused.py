"""Fused layers have the values and gradients of the plain ones, also when they are traced or batched by vmap."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trilemma.plugins.flows.autoregressive import autoregressive_stack
from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.conditioners import Masked, Perceptron
from trilemma.plugins.flows.coupling import Couplings
from trilemma.plugins.flows.flow import Bijection, Composition, Flow, Inverse
from trilemma.plugins.flows.fused import FusedCouplings, FusedMasked, FusedPerceptron
from trilemma.plugins.flows.fused_maps import fused_additive, fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.spline import rational_quadratic
from trilemma.plugins.flows.transforms import Elementwise, additive, affine

MAPS = {
    "affine": (affine(2.0), fused_affine(2.0)),
    "additive": (additive(), fused_additive()),
    "spline": (rational_quadratic(4, 3.0), fused_rational_quadratic(4, 3.0)),
}
"""Elementwise maps, plain and fused."""


def assert_equal(plain: nn.Module, fused: nn.Module, x: Tensor) -> None:
    """The outputs are equal, and so are the gradients of a function of them by the inputs and all parameters."""
    (values, gradients), (wanted, wanted_gradients) = (outputs_and_gradients(layer, x) for layer in (fused, plain))
    assert gradients.keys() == wanted_gradients.keys()
    torch.testing.assert_close(values, wanted, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(gradients, wanted_gradients, atol=1e-10, rtol=1e-10)
    assert all(gradient.any() for gradient in gradients.values())


def outputs_and_gradients(layer: nn.Module, x: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    torch.manual_seed(1)  # of dropout
    x = x.clone().requires_grad_()
    values = layer(x)
    values = values if isinstance(values, tuple) else (values,)
    loss = sum((value * torch.linspace(-1, 1, value.numel()).view_as(value) + value.square()).sum() for value in values)
    named = dict(layer.named_parameters())
    return values, dict(zip(["x", *named], torch.autograd.grad(loss, [x, *named.values()]), strict=True))


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("d", [2, 5, 6])
@pytest.mark.parametrize("octaves", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_fused_couplings_equal_plain_ones(
    normal: Callable[..., Tensor],
    scatter: Callable[..., None],
    name: str,
    d: int,
    octaves: int,
    shuffle: bool,
    dropout: float,
) -> None:
    layers = []
    for kind, map_ in zip((Couplings, FusedCouplings), MAPS[name], strict=True):
        torch.manual_seed(0)
        layer = kind(d, 5, map_, (8, 8), octaves=octaves, dropout=dropout, shuffle=shuffle).double()
        scatter(layer)
        layers.append(layer)
    plain, fused = layers
    assert [*plain.state_dict()] == [*fused.state_dict()]
    x = normal(9, d)
    assert fused(x)[0].grad_fn.name() == "RecordedBackward"
    assert plain(x)[0].grad_fn.name() != "RecordedBackward"
    assert_equal(plain, fused, x)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("octaves", [0, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("direction", [lambda layer: layer, Inverse], ids=["forward", "inverse"])
def test_fused_autoregressive_layers_equal_plain_ones(
    normal: Callable[..., Tensor],
    scatter: Callable[..., None],
    name: str,
    octaves: int,
    dropout: float,
    direction: Callable[[Bijection], Bijection],
) -> None:
    stacks = []
    for kind, map_ in zip((Masked, FusedMasked), MAPS[name], strict=True):
        torch.manual_seed(0)
        layers = autoregressive_stack(4, 2, map_, (12, 12), kind, octaves=octaves, dropout=dropout)
        stack = Composition(direction(layer) for layer in layers).double()
        scatter(stack)
        stacks.append(stack)
    assert_equal(*stacks, normal(9, 4))


@pytest.mark.parametrize("octaves", [0, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_fused_perceptron_equals_a_plain_one(normal: Callable[..., Tensor], octaves: int, dropout: float) -> None:
    nets = []
    for kind in (Perceptron, FusedPerceptron):
        torch.manual_seed(0)
        nets.append(kind(3, 2, 5, (8, 8), octaves=octaves, dropout=dropout, last_gain=1.0).double())
    assert_equal(*nets, normal(9, 3))


# Hand-written derivatives against finite differences


@pytest.mark.parametrize("bins", [2, 8])
def test_the_hand_written_derivatives_of_the_spline(normal: Callable[..., Tensor], bins: int) -> None:
    params = normal(3 * bins - 1, 2, 9, seed=1).requires_grad_()
    x = normal(2, 9, seed=2, scale=2.0).requires_grad_()
    forward = fused_rational_quadratic(bins, 3.0).forward
    assert torch.autograd.gradcheck(forward, (params, x))


def test_the_hand_written_derivatives_of_the_affine_map(normal: Callable[..., Tensor]) -> None:
    params, x = normal(2, 3, 5, scale=3.0).requires_grad_(), normal(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(fused_affine(2.0).forward, (params, x))
    assert torch.autograd.gradcheck(fused_affine(2.0).inverse, (params, x))


def test_the_hand_written_derivatives_of_the_additive_map(normal: Callable[..., Tensor]) -> None:
    params, x = normal(1, 3, 5).requires_grad_(), normal(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(fused_additive().forward, (params, x))


@pytest.mark.parametrize("octaves", [0, 2])
def test_the_hand_written_derivatives_of_a_perceptron(normal: Callable[..., Tensor], octaves: int) -> None:
    torch.manual_seed(0)
    net = FusedPerceptron(2, 3, 2, (8, 8), octaves=octaves, last_gain=1.0).double()
    names, weights = zip(*net.named_parameters(), strict=True)

    def output(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(output, (normal(5, 2).requires_grad_(), *weights))


# Traced and transformed


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch 2.4 has no rule for scatter_add
def test_flows_batch_over_parameters(normal: Callable[..., Tensor], scatter: Callable[..., None]) -> None:
    torch.manual_seed(0)
    flows = [
        Flow([FusedCouplings(3, 2, fused_rational_quadratic(4, 3.0), (8,))], StandardNormal((3,))).double()
        for _ in range(3)
    ]
    for flow in flows:
        scatter(flow)
    parameters, buffers = torch.func.stack_module_state(flows)
    x = normal(5, 3)

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        z, logdet = torch.func.functional_call(flows[0], (parameters, buffers), (x,))
        return (z.square().sum(1) - logdet).mean()

    batched = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)
    for i, flow in enumerate(flows):
        single = torch.func.grad(loss)(dict(flow.named_parameters()), dict(flow.named_buffers()))
        for name, gradient in single.items():
            torch.testing.assert_close(batched[name][i], gradient)


@pytest.mark.slow
@pytest.mark.parametrize("elementwise", [fused_affine(3.0), fused_rational_quadratic(8, 3.5)], ids=["affine", "spline"])
def test_flows_compile_as_one_graph(
    normal: Callable[..., Tensor], scatter: Callable[..., None], elementwise: object
) -> None:
    torch.manual_seed(0)
    flow = Flow([FusedCouplings(2, 2, elementwise, (16,))], StandardNormal((2,)))  # type: ignore[arg-type]
    scatter(flow)
    x = normal(64, 2).float()
    compiled = torch.compile(flow.log_prob, fullgraph=True)
    torch.testing.assert_close(compiled(x), flow.log_prob(x), atol=1e-4, rtol=1e-4)
    compiled(x).mean().backward()
    found = [p.grad.clone() for p in flow.parameters() if p.grad is not None]
    flow.zero_grad()
    flow.log_prob(x).mean().backward()
    expected = [p.grad for p in flow.parameters() if p.grad is not None]
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("elementwise", [fused_affine(3.0), fused_rational_quadratic(4, 3.0)], ids=["affine", "spline"])
@pytest.mark.parametrize("d", [2, 5, 6])
@pytest.mark.parametrize("count", [1, 5])
def test_couplings_recorded_as_one_step_have_the_gradients_of_their_layers(
    normal: Callable[..., Tensor], scatter: Callable[..., None], d: int, count: int, elementwise: Elementwise
) -> None:
    torch.manual_seed(0)
    layer = FusedCouplings(d, count, elementwise, (8, 8), octaves=2).double()
    scatter(layer)
    parameters = dict(layer.named_parameters())
    x = normal(7, d)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        z, logdet = torch.func.functional_call(layer, parameters, (x,))
        return (z.square().sum(1) - logdet).square().sum()

    expected, expected_x = torch.func.grad(loss, argnums=(0, 1))(parameters, x)  # layer by layer
    *found, found_x = torch.autograd.grad(loss(parameters, x.requires_grad_()), [*parameters.values(), x])
    torch.testing.assert_close(found_x, expected_x)
    for one, (name, two) in zip(found, expected.items(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_recorded_couplings_refuse_a_second_derivative(
    normal: Callable[..., Tensor], scatter: Callable[..., None]
) -> None:
    flow = Flow([FusedCouplings(2, 2, fused_affine(3.0), (8,))], StandardNormal((2,)))
    scatter(flow)
    x = normal(4, 2).float().requires_grad_()
    (slope,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
