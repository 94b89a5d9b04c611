"""The Runge-Kutta method of continuous flows: its order, and both directions of the flow."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from trilemma.plugins.flows.cnf import ContinuousFlow, RungeKutta
from trilemma.plugins.networks.runge_kutta import runge_kutta


def test_the_method_has_order_four() -> None:
    # y' = A y (1 + cos t) has the solution exp(A (t + sin t)) y, and div = tr A (1 + cos t).
    matrix = torch.tensor([[0.2, -1.0], [1.3, -0.5]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.5], [-2.0, 0.3]], dtype=torch.float64)
    exact = x @ torch.matrix_exp(matrix * (3 + math.sin(3))).T

    def slope(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        rate = 1 + t.cos()
        return rate * (y @ matrix.T), rate * matrix.trace()

    errors = []
    for steps in (8, 16, 32):
        end, trace = runge_kutta(slope, x, torch.linspace(0, 3, steps + 1, dtype=torch.float64))
        errors.append([float((end - exact).abs().max()), float((trace + 0.3 * (3 + math.sin(3))).abs())])
    for coarse, fine in itertools.pairwise(errors):
        for before, after in zip(coarse, fine, strict=True):
            assert 3.5 < math.log2(before / after) < 5


def test_sampling_inverts_the_density_pass(family: Any) -> None:
    model = ContinuousFlow(ContinuousFlow.Config(hidden=(16, 16)))
    torch.manual_seed(0)
    model.build(family.info("cnf", 3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ctx = family.context("cnf", 3, seed=5)
    ctx.sampler = RungeKutta(steps=60)
    x = model.sample(20, ctx)
    start = model.base.sample(20, family.context("cnf", 3, seed=5).generator)
    times = torch.linspace(0, 1, 61, dtype=torch.float64)
    assert float((x - start).abs().max()) > 0.1
    back, _ = model.flow(x, times, x.new_zeros((0, *x.shape)))
    torch.testing.assert_close(back, start, atol=1e-4, rtol=0)
