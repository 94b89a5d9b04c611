"""Planar and radial layers: the batched computation against the layers of the paper, one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trilemma.plugins.flows.fused_planar import Activations, RadialPass, activations, radial_pass
from trilemma.plugins.flows.planar import Planar, Radial


def planar_layer(x: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rezende & Mohamed 2015, eqs. 10 to 12, with the correction of appendix A.1 and the paper's psi."""
    corrected = u + (-1 + F.softplus(w @ u) + 1e-3 - w @ u) * w / w.norm() ** 2
    psi = (1 - torch.tanh(x @ w + b) ** 2).unsqueeze(1) * w
    return x + torch.outer(torch.tanh(x @ w + b), corrected), (1 + psi @ corrected).abs().log()


def radial_layer(x: Tensor, center: Tensor, log_alpha: Tensor, raw_beta: Tensor) -> tuple[Tensor, Tensor]:
    """Rezende & Mohamed 2015, eq. 14, with h and its derivative as the paper writes them."""
    alpha, d = log_alpha.exp(), x.shape[1]
    beta = F.softplus(raw_beta) - 0.999 * alpha
    r = (x - center).norm(dim=1)
    h, slope = 1 / (alpha + r), -1 / (alpha + r) ** 2
    y = x + beta * h.unsqueeze(1) * (x - center)
    return y, ((1 + beta * h) ** (d - 1) * (1 + beta * h + beta * slope * r)).abs().log()


@pytest.mark.parametrize(("kind", "one"), [(Planar, planar_layer), (Radial, radial_layer)])
@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("count", [1, 7])
def test_batched_layers_equal_those_of_the_paper_one_by_one(
    normal: Callable[..., Tensor], kind: type[Planar] | type[Radial], one: Callable[..., object], d: int, count: int
) -> None:
    torch.manual_seed(0)
    layers, x = kind(d, count).double(), normal(9, d)
    parameters = [*layers.parameters()]

    def by_one() -> tuple[Tensor, Tensor]:
        y, total = x, x.new_zeros(len(x))
        for values in zip(*parameters, strict=True):
            y, logdet = one(y, *values)  # type: ignore[misc]
            total = total + logdet
        return y, total

    weight = normal(9, d, seed=1)
    found, wanted = (
        torch.autograd.grad((y * weight).sum() + logdet.square().sum(), parameters)
        for y, logdet in (layers(x), by_one())
    )
    for a, b in zip((*layers(x), *found), (*by_one(), *wanted), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9)


def test_hand_written_derivatives_of_the_loops_over_layers(normal: Callable[..., Tensor]) -> None:
    s, a = normal(4, 5).requires_grad_(), normal(4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(Activations.apply, (s, a))
    torch.testing.assert_close(Activations.apply(s, a), activations(s, a))  # type: ignore[no-untyped-call]
    values = [normal(3, 5), normal(4, 3, seed=2), normal(4, seed=3).exp(), normal(4, seed=4) ** 2]
    values = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(RadialPass.apply, values)
    torch.testing.assert_close(RadialPass.apply(*values), radial_pass(*values))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", [Planar, Radial])
def test_layers_batch_over_parameters(normal: Callable[..., Tensor], kind: type[Planar] | type[Radial]) -> None:
    torch.manual_seed(0)
    many, x = [kind(2, 3).double() for _ in range(2)], normal(5, 2)
    parameters, buffers = torch.func.stack_module_state(list(many))

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        y, logdet = torch.func.functional_call(many[0], (parameters, buffers), (x,))
        return (y.square().sum(1) - logdet).mean()

    batched = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)
    for i, layers in enumerate(many):
        single = torch.autograd.grad(loss(dict(layers.named_parameters()), {}), [*layers.parameters()])
        for found, wanted in zip(batched.values(), single, strict=True):
            torch.testing.assert_close(found[i], wanted)
