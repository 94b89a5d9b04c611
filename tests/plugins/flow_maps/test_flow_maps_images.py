"""The forms of flow maps for images: derivatives of their U-Nets, the three densities, and short trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.harness.plugins import Registry
from trilemma.plugins.flow_maps.distilled import DistilledFlowMap, Trajectories
from trilemma.plugins.flow_maps.images import DistilledFlowMapUnet, FlowMapUnet
from trilemma.plugins.flow_maps.likelihoods import FlowMapLikelihood
from trilemma.plugins.flow_maps.networks import MapUNet
from trilemma.plugins.flow_maps.objectives import jump
from trilemma.plugins.networks.dual import Dual, through
from trilemma.plugins.networks.unet import UNet

SHAPE = (1, 8, 8)
Contexts = Callable[..., trilemma.Context]
REGISTRY = Registry(builtin_only=True)
METHODS = ["flow-map", "meanflow", "shortcut", "consistency", "distilled-flow-map"]
"""Each has a form for images."""


def unet(times: int, widths: tuple[int, ...] = (4, 6), dropout: float = 0.0) -> UNet:
    """A small U-Net in double precision, none of whose weights are zero."""
    body = UNet(SHAPE, 1, widths=widths, blocks=2, dropout=dropout, labels=times).double()
    for parameter in body.parameters():
        nn.init.normal_(parameter, std=0.3)
    return body


@pytest.fixture(autouse=True)
def seed() -> None:
    """The global random state, from which networks are drawn."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def points() -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """A function that gives `n` images and two times for each, float64."""

    def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
        g = torch.Generator().manual_seed(0)
        x = torch.randn((n, *SHAPE), generator=g, dtype=torch.float64)
        s, t = (0.1 + 0.8 * torch.rand(n, generator=g, dtype=torch.float64) for _ in range(2))
        return x, s, t

    return draw


@pytest.mark.parametrize(("direction", "total"), [("x", False), ("s", False), ("t", True), ("xst", True)])
def test_derivatives_of_the_networks_are_those_of_autograd(direction: str, total: bool, points: Any) -> None:
    net = MapUNet(unet(2), total=total)
    x, s, t = at = points(3)
    moves = [torch.randn_like(a) for a in at]
    chosen: Any = tuple(m if name in direction else None for name, m in zip("xst", moves, strict=True))
    found = net.along(x, s, t, chosen)
    zeros = tuple(torch.zeros_like(m) if c is None else m for m, c in zip(moves, chosen, strict=True))
    # The products of Jacobians with directions by two backward passes (the double-backward trick).
    leaves = [a.requires_grad_() for a in at]
    value = net(*leaves)
    dual = torch.ones_like(value, requires_grad=True)
    back = torch.autograd.grad(value, leaves, dual, create_graph=True)
    (expected,) = torch.autograd.grad(back, dual, zeros)
    torch.testing.assert_close(found, (value, expected))
    assert found[0].shape == ((3, 1) if total else (3, *SHAPE))


def test_a_dropped_feature_has_no_derivative_and_an_unknown_layer_is_refused() -> None:
    x = Dual(torch.ones(1000), torch.ones(1000))
    found = through(nn.Dropout(0.5), x)
    assert torch.equal(found.value, found.rate)
    assert set(found.value.tolist()) == {0.0, 2.0}
    with pytest.raises(TypeError, match="Tanh"):
        through(nn.Tanh(), x)


def trained(context: Contexts, steps: int, kind: Any = FlowMapUnet, **options: object) -> Any:
    """A model that took some training steps on images whose rows are dark or bright."""
    g = torch.Generator().manual_seed(1)
    level = torch.randint(0, 2, (600, 1, 8, 1), generator=g).expand(600, *SHAPE)
    x = (level - 0.5) * 1.8 + 0.4 * torch.randn((600, *SHAPE), generator=g)
    model = kind(kind.Config(**options))
    clock = trilemma.Clock(trilemma.Budget(steps=steps))
    model.fit(trilemma.Split(x), context(SHAPE, clock=clock, recipe=kind.recipe))
    return model


@pytest.mark.parametrize("objective", ["lagrangian", "eulerian", "progressive"])
def test_every_objective_trains_on_images_with_all_three_likelihoods(objective: str, context: Contexts) -> None:
    model = trained(context, 2, objective=objective, head=True, invertibility=1.0, widths=(4, 6), blocks=1)
    x = model.sample(3, context(SHAPE))
    assert x.shape == (3, *SHAPE)
    for method in ("ode", "head", "jacobian"):
        ctx = context(SHAPE, likelihood=FlowMapUnet.Likelihood(method=method, steps=2))  # type: ignore[arg-type]
        assert torch.isfinite(model.log_prob(x, ctx)).all()
        assert ctx.details["divergence"] == {"ode": "hutchinson", "head": "learned", "jacobian": None}[method]
    sigma = torch.ones(3)
    assert model.score(x, sigma, context(SHAPE)).shape == x.shape


def test_the_densities_of_an_image_are_those_of_whole_jacobian_matrices(context: Contexts, points: Any) -> None:
    model = FlowMapUnet(FlowMapUnet.Config(head=True))
    model.prepare(context(SHAPE).info)
    model.map.velocity, model.map.correction = MapUNet(unet(1), times=1), MapUNet(unet(2))  # type: ignore[assignment]
    x = 0.3 * points(2)[0]
    for parameter in model.map.parameters():
        parameter.data *= 0.7

    def noise_of(image: Tensor) -> Tensor:
        z = image.unsqueeze(0)
        for s, t in ((1.0, 0.5), (0.5, 0.0)):
            z = jump(model.map, z, *(torch.tensor([time], dtype=z.dtype) for time in (s, t)))
        return z[0]

    expected = []
    for image in x:
        matrix = torch.autograd.functional.jacobian(noise_of, image, vectorize=False).reshape(64, 64)  # type: ignore[no-untyped-call]
        log_volume = np.linalg.slogdet(matrix.numpy())[1]
        z = noise_of(image).detach().numpy()
        expected.append(log_volume - (z**2).sum() / 2 - 32 * np.log(2 * np.pi))
    found = model.log_prob(x, context(SHAPE, likelihood=FlowMapLikelihood(method="jacobian", steps=2)))
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    exact = context(SHAPE, likelihood=FlowMapUnet.Likelihood(divergence="exact", steps=3))
    probed = context(SHAPE, likelihood=FlowMapUnet.Likelihood(probes=40, steps=3))
    apart = model.log_prob(x, exact) - model.log_prob(x, probed)
    assert float(apart.square().mean().sqrt()) < 3 * probed.details["probe_standard_error"]


@pytest.mark.parametrize("name", METHODS)
def test_a_form_for_images_differs_from_its_method_in_its_networks_alone(name: str) -> None:
    method, form = REGISTRY.get("models", name), REGISTRY.get("models", f"{name}-unet")
    networks = {"hidden", "octaves", "velocity_octaves", "widths", "blocks", "dropout"}
    cost = {"first", "intervals"} if name == "distilled-flow-map" else set()  # trajectories cost more with U-Nets
    rest = [
        {key: value for key, value in kind.Config().model_dump().items() if key not in networks | cost}
        for kind in (method, form)
    ]
    assert rest[0] == rest[1]
    assert (form.samplers, form.accepts) == (method.samplers, ("image",))


@pytest.mark.parametrize("name", METHODS)
def test_a_form_for_images_trains_and_keeps_the_shape_of_images(name: str, context: Contexts) -> None:
    kind: Any = REGISTRY.get("models", f"{name}-unet")
    model = trained(context, 4, kind, widths=(4, 6), blocks=1)
    x = model.sample(3, context(SHAPE, sampler=kind.samplers[0](steps=2)))
    assert x.shape == (3, *SHAPE)
    assert torch.isfinite(x).all()
    values = model.log_prob(x, context(SHAPE, likelihood=kind.Likelihood(steps=2)))
    assert torch.isfinite(values).all()


def test_trajectories_of_images_are_drawn_now_and_then(context: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[int] = []
    draw = Trajectories.extend

    def watched(self: Trajectories, *args: Any) -> None:
        draw(self, *args)
        stored.append(0 if self.points is None else self.points.shape[1])

    monkeypatch.setattr(Trajectories, "extend", watched)
    monkeypatch.setattr(DistilledFlowMapUnet, "part", 8)
    trained(context, 24, DistilledFlowMapUnet, widths=(4, 6), blocks=1, intervals=2)
    assert stored == [8, 16]  # at the first step after half of the budget, and at the twentieth
    assert DistilledFlowMap.every == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow-map", "distilled-flow-map"])
def test_images_of_one_step_have_even_rows_after_training(name: str, context: Contexts) -> None:
    model = trained(context, 700, REGISTRY.get("models", f"{name}-unet"), widths=(16, 32))
    x = model.sample(200, context(SHAPE))
    assert float(x.std(3).mean()) < 0.55  # .4 within a row, .98 between rows
    assert float(x.mean(3).std()) > 0.7
