"""Samples of Sobolev descent: fresh noise takes the steps of the stored critics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

import trilemma
from trilemma.plugins.sobolev_descent.sobolev_descent import SobolevDescent, Transport


@pytest.mark.parametrize(
    ("decay", "factors"), [(0.0, [1, 1, 1, 1, 1, 1]), (1.0, [6, 5, 4, 3, 2, 1]), (2.0, [36, 25, 16, 9, 4, 1])]
)
def test_noise_follows_the_stored_critics(decay: float, factors: list[int]) -> None:
    # x <- x + eps_k grad f_k(x), where eps_k falls from eps, with gradients by central differences in double precision.
    steps, size, h = 6, 0.5, 1e-5
    info = trilemma.DataInfo(name="toy", kind="vector", shape=(2,), n_train=100)
    torch.manual_seed(0)
    model = SobolevDescent(
        SobolevDescent.Config(hidden=(16,), octaves=1, particles=50, steps=steps, step=size, decay=decay)
    )
    model.prepare(info)
    model.double()
    model.path.normal_(generator=torch.Generator().manual_seed(1)).mul_(0.5)
    noise = torch.randn((50, 2), generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def moved(x: Tensor, count: int) -> Tensor:
        for k in range(count):
            critic = copy.deepcopy(model.critic)
            vector_to_parameters(model.path[k], critic.parameters())
            with torch.no_grad():
                shifts = h * torch.eye(2, dtype=torch.float64)
                slopes = torch.stack([(critic(x + s) - critic(x - s)) / (2 * h) for s in shifts], dim=1)
            x = x + size * factors[k] / factors[0] * slopes
        return x

    for count in (None, 2):
        ctx = trilemma.Context(
            info=info,
            device=torch.device("cpu"),
            generator=torch.Generator(),
            sampler=Transport(steps=count),
        )
        torch.testing.assert_close(model.carry(noise, ctx), moved(noise, count or steps), atol=1e-6, rtol=1e-6)
