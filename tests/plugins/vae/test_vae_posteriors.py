"""Flow posteriors: their log-densities against autograd, importance sampling and the formulas of the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from trilemma.plugins.vae.posteriors import AutoregressiveLayer, PlanarLayer, PosteriorFlow, SylvesterLayer
from trilemma.plugins.vae.vae import Vae

KINDS = ["planar", "sylvester", "iaf"]
WEIGHT = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.0, 1.0], [2.0, -0.75]])
Make = Callable[..., Any]


def scattered(module: nn.Module, std: float) -> nn.Module:
    """The module with random parameters, so that no layer is near the identity."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_log_determinant_is_that_of_the_jacobian_by_autograd(kind: str, d: int, generator: Make) -> None:
    flow = scattered(PosteriorFlow(kind, d, 3, 3), 0.4).double()  # type: ignore[arg-type]
    z, h = (torch.randn((4, n), generator=generator(n), dtype=torch.float64) for n in (d, 3))
    moved, logdet = flow(z, h)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda point, i=i: flow(point[None], h[i : i + 1])[0][0], z[i])
        torch.testing.assert_close(logdet[i], torch.linalg.slogdet(jacobian)[1], atol=1e-7, rtol=1e-7)
        # The parameters depend on the point alone that they are for.
        torch.testing.assert_close(flow(z[i : i + 1], h[i : i + 1])[0][0], moved[i])
    assert not torch.allclose(flow(z, -h)[0], moved, atol=1e-3)


def test_planar_layer_is_invertible_for_any_parameters(generator: Make) -> None:
    # Along w the map is s + w'u tanh(s + b), which must increase.
    for seed in range(20):
        layer = PlanarLayer(3, 2)
        torch.manual_seed(seed)
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=3.0)
        h = torch.randn((1, 2), generator=generator(seed))
        w = layer.parameters_of(h)[0, 3:6].detach()
        along = torch.linspace(-4, 4, 2_001).unsqueeze(1) * w / w.norm()
        s = layer(along, h.expand(2_001, 2))[0].detach() @ w
        assert float(s.diff().min()) > -1e-5


def test_planar_layer_keeps_a_margin_in_float32() -> None:
    # w'u = -36, where softplus rounds -1 + softplus to -1. At z = 0 the slope of tanh is 1.
    layer = PlanarLayer(1, 1)
    with torch.no_grad():
        layer.parameters_of.weight.zero_()
        layer.parameters_of.bias.copy_(torch.tensor([-6.0, 6.0, 0.0]))
    z, h = torch.zeros((1, 1), requires_grad=True), torch.zeros((1, 1))
    moved, logdet = layer(z, h)
    (slope,) = torch.autograd.grad(moved.sum(), z)
    assert float(slope) > 5e-4
    assert float(logdet.detach()) == pytest.approx(float(slope.log()), abs=1e-2)


def test_sylvester_layer_is_the_formula_with_an_orthogonal_q(generator: Make) -> None:
    d, layer = 4, scattered(SylvesterLayer(4, 3), 0.8).double()
    assert isinstance(layer, SylvesterLayer)
    z, h = (torch.randn((1, n), generator=generator(n), dtype=torch.float64) for n in (d, 3))
    outer, inner, b, v = layer.parameters_of(h)[0].detach().split([16, 16, 4, 4 * layer.reflections])
    q = torch.eye(d, dtype=torch.float64)
    for direction in v.reshape(-1, d).flip(0):
        q = (torch.eye(d, dtype=torch.float64) - 2 * torch.outer(direction, direction) / (direction @ direction)) @ q
    torch.testing.assert_close(q.T @ q, torch.eye(d, dtype=torch.float64))
    r, s = (m.reshape(d, d).triu(1) + torch.diag(0.9999 * m.reshape(d, d).diagonal().tanh()) for m in (outer, inner))
    by_hand = z[0] + q @ r @ torch.tanh(s @ q.T @ z[0] + b)
    torch.testing.assert_close(layer(z, h)[0][0].detach(), by_hand)


def test_autoregressive_layer_is_triangular_and_every_coordinate_sees_the_context(generator: Make) -> None:
    layer = scattered(AutoregressiveLayer(5, 3), 0.7).double()
    z, h = (torch.randn((1, n), generator=generator(n), dtype=torch.float64) for n in (5, 3))
    by_z, by_h = torch.autograd.functional.jacobian(lambda *point: layer(*point)[0][0].flip(0), (z, h))
    assert torch.equal(by_z[:, 0].triu(1), torch.zeros(5, 5, dtype=torch.float64))
    assert float(by_z[:, 0].tril(-1).abs().sum(1)[1:].min()) > 1e-3
    assert float(by_h[:, 0].abs().sum(1).min()) > 1e-3
    # At the start the layer is near the identity (Kingma et al. 2016, section 4).
    moved = AutoregressiveLayer(5, 3)(z.float(), h.float())[0].detach()
    assert float((moved.flip(1) - z).abs().max()) < 0.5


def test_autoregressive_layer_sees_every_coordinate_but_the_last_of_many_latents(generator: Make) -> None:
    d = 100
    layer = scattered(AutoregressiveLayer(d, 3), 0.1).double()
    z, h = (torch.randn((1, n), generator=generator(n), dtype=torch.float64) for n in (d, 3))
    jacobian = torch.autograd.functional.jacobian(lambda point: layer(point, h)[0][0].flip(0), z)[:, 0]
    assert float(jacobian.tril(-1).abs().sum(0)[:-1].min()) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_mean_importance_weight_is_the_density(
    kind: str, linear: Make, points_and_density: Make, context: Make
) -> None:
    # E_q[p(x, z) / q(z | x)] = p(x) for every q. A wrong log q would shift it.
    model = linear(WEIGHT, 0.1, wider=0.7, posterior=kind, posterior_transforms=2, context=3)
    x, truth = (values[:100] for values in points_and_density(WEIGHT))
    logdet = model.posterior(torch.zeros(100, 2), model.encoder.with_context(x)[1])[1].detach()
    assert float(logdet.abs().mean()) > 0.05
    found = model.log_prob(x, context(4, likelihood=Vae.Likelihood(samples=1_000)))
    assert float((found - truth).mean()) == pytest.approx(0, abs=0.02)
    one = model.log_prob(x, context(4, likelihood=Vae.Likelihood(samples=1)))
    assert float((one - truth).mean()) < -0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_flow_posterior_comes_closer_than_the_best_diagonal_gaussian(
    kind: str, linear: Make, points_and_density: Make, context: Make
) -> None:
    model: Vae = linear(WEIGHT, 0.0, posterior=kind, context=8)
    x, truth = points_and_density(WEIGHT)
    precision = torch.eye(2) + WEIGHT.T @ WEIGHT / 0.25
    diagonal = MultivariateNormal(torch.zeros(2), torch.diag(1 / precision.diagonal()))
    best = float(kl_divergence(diagonal, MultivariateNormal(torch.zeros(2), precision_matrix=precision)))
    weights: list[Tensor] = [*model.encoder.parameters(), *model.posterior.parameters()]
    optimizer, ctx = torch.optim.Adam(weights, lr=1e-2), context(4)
    for _ in range(400):
        optimizer.zero_grad()
        model.negative_elbo(x, 1.0, ctx.generator).backward()
        optimizer.step()
    with torch.no_grad():
        gaps = [float(truth.mean() + model.negative_elbo(x, 1.0, ctx.generator)) for _ in range(50)]
    gap = sum(gaps) / 50
    assert -0.01 < gap < 0.6 * best
