"""The count of floating-point operations, against the one that torch has."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from trilemma.harness.evaluation.flops import count_flops


def test_flops_of_losses_with_gradients_in_them_are_those_that_torch_counts() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.SiLU(), torch.nn.Conv1d(1, 2, 3), torch.nn.SiLU())
    x = torch.randn(5, 3)

    def plain() -> None:
        network(x.unsqueeze(1)).sum().backward()

    with FlopCounterMode(display=False) as counter:
        plain()
    assert count_flops(plain)[0] == counter.get_total_flops()

    def penalized() -> None:
        y = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(y.unsqueeze(1)).sum(), y, create_graph=True)
        slope.square().sum().backward()

    assert count_flops(penalized)[0] > 2 * count_flops(plain)[0]
