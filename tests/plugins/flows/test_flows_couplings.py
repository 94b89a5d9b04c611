"""Coupling layers: their inverses, the coordinates that they move, their initialization, and flows in chunks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trilemma.plugins.flows.base import StandardNormal
from trilemma.plugins.flows.flow import CHUNK, Flow
from trilemma.plugins.flows.fused import FusedCouplings
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic


def test_every_coordinate_moves_and_shuffled_couplings_invert(
    normal: Callable[..., Tensor], scatter: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    for d, count in [(2, 2), (3, 4), (8, 7)]:
        layer = FusedCouplings(d, count, fused_affine(3.0), (8,)).double()
        scatter(layer)
        x = normal(6, d)
        with torch.no_grad():
            y, logdet = layer(x)
            back, back_logdet = layer.inverse(y)
        torch.testing.assert_close(back, x, atol=1e-12, rtol=0)
        torch.testing.assert_close(back_logdet, -logdet)
        jacobian = torch.autograd.functional.jacobian(lambda p, f=layer: f(p[None])[0][0], x[0])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], logdet[0])
        # Up to the order of the coordinates, a layer that kept one would show a row of the identity.
        assert not ((jacobian == 1).sum(1).eq(1) & (jacobian == 0).sum(1).eq(d - 1)).any()


@pytest.mark.parametrize("d", [4, 5])
def test_couplings_start_at_given_parameters_of_what_they_move(normal: Callable[..., Tensor], d: int) -> None:
    torch.manual_seed(0)
    layer, seen = FusedCouplings(d, 4, fused_affine(3.0), (8,)).double(), []

    def standardize(moving: Tensor) -> Tensor:
        seen.append(moving.shape[1])
        return torch.stack([-moving.mean(0), torch.zeros(moving.shape[1])])

    x = normal(50, d) + 3
    layer.start(x, standardize)
    assert seen == [d - d // 2, d // 2] * 2
    torch.testing.assert_close(layer(x)[0].mean(0), torch.zeros(d, dtype=torch.float64), atol=1e-9, rtol=0)


def test_densities_and_draws_do_not_depend_on_the_chunks(
    normal: Callable[..., Tensor], scatter: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    flow = Flow([FusedCouplings(2, 2, fused_rational_quadratic(4, 3.0), (8,))], StandardNormal((2,)))
    scatter(flow)
    n = 2 * CHUNK + 3
    x = normal(n, 2).float()
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(x), flow.base.log_prob(flow(x)[0]) + flow(x)[1])
        drawn, log_q = flow.sample(n, torch.Generator().manual_seed(0))
    again, log_q_again = flow.sample(n, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, again)
    torch.testing.assert_close(log_q, log_q_again)
