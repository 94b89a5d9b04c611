"""The KL divergences that regularize flows, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

import trilemma
from trilemma.plugins.flows.linear import ActNorm
from trilemma.plugins.flows.model import jacobian_kl


@pytest.mark.parametrize("name", ["realnvp", "nsf-coupling", "maf", "planar", "glow-multiscale"])
def test_the_jacobian_kl_is_that_between_two_normal_distributions(family: Any, name: str) -> None:
    flow, shape = family.random_flow(name, 3, torch.float64), family.info(name, 3).shape
    point = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def flat(p: Tensor) -> Tensor:
        z: Tensor = flow(p.view(1, *shape))[0].flatten()
        return z

    jacobian = torch.autograd.functional.jacobian(flat, point.flatten())
    d = len(jacobian)
    zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    exact = kl_divergence(
        MultivariateNormal(zero, eye), MultivariateNormal(zero, precision_matrix=jacobian.T @ jacobian)
    )
    with torch.no_grad():
        found = jacobian_kl(flow, point.expand(4_000, *shape), torch.Generator().manual_seed(0), step=1e-4)
    assert float(exact) > 1e-3
    assert abs(float(found.mean() - exact)) < 5 * float(found.std()) / 4_000**0.5 + 1e-6


def linear_glow(family: Any, **config: object) -> tuple[Any, MultivariateNormal]:
    """A flow that is a linear map, because its networks give 0, and its distribution."""
    torch.manual_seed(0)
    kind = family.by_name["glow"]
    model = kind(kind.Config(transforms=2, objective="regularized", **config))
    model.build(family.info("glow", 2))
    for layer in model.modules():
        if isinstance(layer, ActNorm):
            torch.nn.init.normal_(layer.log_scale, std=0.5)
            torch.nn.init.normal_(layer.shift, std=0.5)
    with torch.no_grad():
        origin = model.flow.inverse(torch.zeros(1, 2))[0][0]
        back = torch.stack([model.flow.inverse(one[None])[0][0] - origin for one in torch.eye(2)], dim=1)
    return model, MultivariateNormal(origin, back @ back.T)


def test_the_kl_from_the_prior_is_that_of_two_normal_distributions(family: Any) -> None:
    model, q = linear_glow(family, regularizer="prior", regularizer_weight=0.7)
    assert not model.needs_truth
    exact = kl_divergence(MultivariateNormal(torch.zeros(2), torch.eye(2)), q)
    x = torch.zeros(40_000, 2)
    with torch.no_grad():
        found = model.regularizer(x, family.context("glow"))
    assert float(found) == pytest.approx(float(exact), rel=0.03)
    loss = model.loss(x[:1], family.context("glow", seed=1))
    expected = -q.log_prob(x[:1]).mean() + 0.7 * model.regularizer(x[:1], family.context("glow", seed=1))
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)


def test_the_jacobian_kl_equals_further_points_of_unit_covariance_for_a_linear_flow(family: Any) -> None:
    model, q = linear_glow(family, regularizer="jacobian")
    points = q.mean + torch.randn(40_000, 2, generator=torch.Generator().manual_seed(5))
    value = model.regularizer(torch.zeros(2_000, 2), family.context("glow"))
    constant = 1 + torch.tensor(2 * torch.pi).log()  # the entropy of N(0, I)
    assert float(value) == pytest.approx(float(-q.log_prob(points).mean() - constant), abs=0.05)


@pytest.mark.parametrize("regularizer", ["prior", "jacobian"])
def test_regularizers_need_no_truth_and_leave_the_model_in_training(family: Any, regularizer: str) -> None:
    kind = family.by_name["realnvp"]
    model = kind(kind.Config(objective="regularized", regularizer=regularizer, dropout=0.4, transforms=2))
    assert not model.needs_truth
    torch.manual_seed(0)
    model.build(family.info("realnvp"))
    model.train()
    model.loss(family.blobs(50, 1), family.context("realnvp")).backward()
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_which_regularizers_go_with_mixtures(family: Any) -> None:
    kind = family.by_name["maf"]
    for regularizer in ("prior", "jacobian"):
        kind.Config(objective="regularized", regularizer=regularizer, base_components=3)
    with pytest.raises(ValueError, match="base_components"):
        kind.Config(objective="regularized", regularizer="truth", base_components=3)
    with pytest.raises(ValueError, match="no Jacobian"):
        family.by_name["rad"].Config(objective="regularized", regularizer="jacobian")


def banana(n: int, seed: int) -> Tensor:
    """Standardized points of four independent pairs (a, b) with b = a^2 / 2 plus noise."""
    a, noise = torch.randn((2, n, 4), generator=torch.Generator().manual_seed(seed))
    return torch.cat([a, (a.square() / 2 - 0.5 + 0.4 * noise) / 0.66**0.5], dim=1)


@pytest.mark.slow
def test_a_regularized_flow_fits_few_points_better(family: Any) -> None:
    losses: dict[str, float] = {}
    for regularizer in ("none", "prior", "jacobian"):
        kind = family.by_name["realnvp"]
        options = {} if regularizer == "none" else {"objective": "regularized", "regularizer": regularizer}
        model = kind(kind.Config(dropout=0.0, regularizer_weight=0.3, **options))
        ctx = family.context("realnvp", 8, clock=trilemma.Clock(trilemma.Budget(steps=400)))
        ctx.recipe = kind.recipe.model_copy(update={"batch_size": 100})
        ctx.valid = trilemma.Split(banana(50, 3))
        model.fit(trilemma.Split(banana(100, 1)), ctx)
        losses[regularizer] = float(-model.log_prob(banana(4_000, 2), ctx).mean())
    print(losses)
    assert max(losses["prior"], losses["jacobian"]) < losses["none"] - 0.1
