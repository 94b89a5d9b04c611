"""The networks of flows: masks, dropout, shapes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trilemma.plugins.flows.cnf import Velocity
from trilemma.plugins.flows.fused import FusedMasked, FusedPerceptron


def test_dropout_passes_gradients_through_the_units_that_are_on(normal: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    net = FusedPerceptron(2, 3, 2, (32, 32), dropout=0.4, last_gain=1.0).double()
    x, direction = normal(4, 2).requires_grad_(), normal(4, 2, seed=1)

    def output(shift: float) -> Tensor:
        torch.manual_seed(1)
        return net(x + shift * direction).sum()  # type: ignore[no-any-return]

    (gradient,) = torch.autograd.grad(output(0), x)
    difference = (output(1e-6) - output(-1e-6)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-8)
    net.eval()
    assert not torch.equal(output(0), net.train()(x).sum())


@pytest.mark.parametrize("octaves", [0, 2])
def test_masks_let_a_coordinate_depend_only_on_those_before_it(normal: Callable[..., Tensor], octaves: int) -> None:
    torch.manual_seed(0)
    order = torch.tensor([2, 0, 3, 1])
    net = FusedMasked(order, 3, (16, 16), octaves=octaves, last_gain=1.0).double()
    jacobian = torch.autograd.functional.jacobian(lambda p: net(p[None])[:, :, 0], normal(4))  # (3, 4, 4)
    seen = jacobian.abs().sum(0) > 1e-9
    assert torch.equal(seen, order.unsqueeze(1) > order)


def test_a_perceptron_gives_points_last(normal: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    net = FusedPerceptron(2, 3, 5, (8,), octaves=1, last_gain=1.0)
    x = normal(7, 2).float()
    out = net(x)
    assert out.shape == (5, 3, 7)
    torch.testing.assert_close(net(x[3:4])[:, :, 0], out[:, :, 3])


def test_a_velocity_gives_products_with_its_jacobian(normal: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    net = Velocity(3, (16, 16)).double()
    x, vectors, t = normal(5, 3), normal(2, 5, 3, seed=1), torch.tensor(0.3, dtype=torch.float64)
    _, products = net(x, t, vectors)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda p: net(p[None], t, vectors[:0, :1])[0][0], x[i])
        torch.testing.assert_close(products[:, i], vectors[:, i] @ jacobian.T)
