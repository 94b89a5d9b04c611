"""TarFlow: its Jacobian by autograd, its inverse, its mass, and the step that denoises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.autoregressive.tarflow import Patches, PatchFlow, TarFlow, TarFlowSampler
from trilemma.plugins.autoregressive.transformer import CausalTransformer
from trilemma.plugins.flows.flow import Flow


def built(shape: tuple[int, ...], *, double: bool = True, **config: object) -> tuple[TarFlow, trilemma.Context]:
    """A small TarFlow with random weights, and its context."""
    torch.manual_seed(0)
    model = TarFlow(TarFlow.Config(channels=8, heads=2, transforms=2, dropout=0.0, **config))  # type: ignore[arg-type]
    kind = "image" if len(shape) == 3 else "vector"
    info = trilemma.DataInfo(name="toy", kind=kind, shape=shape, n_train=100)  # type: ignore[arg-type]
    model.build(info)
    for parameter in model.flow.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape))
    model.eval()
    ctx = trilemma.Context(
        info=info, device=torch.device("cpu"), generator=torch.Generator().manual_seed(0), sampler=TarFlowSampler()
    )
    return (model.double() if double else model), ctx


def flow_of(model: TarFlow) -> Flow:
    assert isinstance(model.flow, Flow)
    return model.flow


def some(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize(("shape", "marginal"), [((3,), False), ((1, 4, 4), False), ((2, 2, 4), True)])
def test_log_determinant_is_that_of_the_jacobian_and_the_flow_has_an_inverse(
    coupling: str, shape: tuple[int, ...], marginal: bool
) -> None:
    model, _ = built(shape, coupling=coupling, marginal_start=marginal)
    x, d, flow = some(1, *shape), math.prod(shape), flow_of(model)
    z, logdet = (value.detach() for value in flow(x))
    jacobian = torch.autograd.functional.jacobian(lambda y: flow(y)[0], x).reshape(d, d)  # type: ignore[no-untyped-call]
    assert float(logdet) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-8)
    assert abs(float(logdet)) > 0.05
    back, inverse_logdet = (value.detach() for value in flow.inverse(z))
    torch.testing.assert_close(back, x, atol=1e-8, rtol=0)
    torch.testing.assert_close(inverse_logdet, -logdet, atol=1e-8, rtol=0)


def test_a_token_moves_by_the_tokens_before_it() -> None:
    model, _ = built((5,))
    _, first, second = flow_of(model).parts()
    for layer, keeps in ((first, torch.tril), (second, torch.triu)):
        jacobian = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
            lambda y, layer=layer: layer(y)[0], some(1, 5, 1)
        )
        assert torch.equal(jacobian.reshape(5, 5) != 0, keeps(torch.ones(5, 5)).bool())


def test_patches_are_blocks_of_pixels() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    patches, zero = Patches((1, 4, 4), 2)(image)
    assert patches[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert zero.tolist() == [0]
    assert torch.equal(Patches((1, 4, 4), 2).inverse(patches)[0], image)


def test_a_prefix_has_the_parameters_that_it_has_in_the_whole() -> None:
    torch.manual_seed(1)
    network = CausalTransformer(6, 2, 3, channels=8, layers=2, heads=2, dropout=0.0).double().eval()
    torch.nn.init.normal_(network.last.weight)
    x = some(2, 6, 2)
    torch.testing.assert_close(network(x[:, :4]), network(x)[:, :4])


def test_the_density_in_two_dimensions_integrates_to_one() -> None:
    model, ctx = built((2,))
    side = torch.linspace(-12, 12, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    mass = float(model.log_prob(grid, ctx).exp().sum()) * float(side[1] - side[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-3)


def test_the_last_step_follows_the_score_and_finds_the_mean_of_gaussian_data() -> None:
    """An untrained flow is N(0, I). If s^2 of its variance is noise, E[x_0 | x] is (1 - s^2) x."""
    model, ctx = built((1, 4, 4), double=False)
    for layer in flow_of(model).parts():
        if isinstance(layer, PatchFlow):
            torch.nn.init.zeros_(layer.transformer.last.weight)
            torch.nn.init.zeros_(layer.transformer.last.bias)
    raw = model.sample(10, ctx)
    ctx.generator.manual_seed(0)
    ctx.sampler = TarFlowSampler(denoise=0.6)
    torch.testing.assert_close(model.sample(10, ctx), raw * (1 - 0.36))


def test_the_score_is_that_of_finite_differences() -> None:
    model, ctx = built((3,))
    x, h = some(2, 3), 1e-5
    found = model.slope(x)
    for j in range(3):
        step = h * torch.eye(3, dtype=torch.float64)[j]
        difference = (model.log_prob(x + step, ctx) - model.log_prob(x - step, ctx)) / (2 * h)
        torch.testing.assert_close(found[:, j], difference, atol=1e-6, rtol=1e-5)


def test_noise_in_training_widens_what_the_flow_learns() -> None:
    losses = []
    for noise in (0.0, 2.0):
        model, ctx = built((2,), double=False, noise=noise)
        losses.append(float(model.loss(torch.zeros(500, 2), ctx).detach()))
    assert losses[1] > losses[0] + 1


def test_shapes_without_patches_are_refused() -> None:
    with pytest.raises(trilemma.UnsupportedError, match="no patches of side 2"):
        built((1, 3, 4))


@pytest.mark.slow
def test_short_training_finds_a_curved_distribution() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(4_000, generator=g), torch.randn(4_000, generator=g)
    x = torch.stack([a, a**2 / 2 - 0.5 + 0.3 * b], dim=1)
    model, ctx = TarFlow(), built((2,))[1]
    ctx.recipe, ctx.clock = model.recipe, trilemma.Clock(trilemma.Budget(steps=600))
    model.fit(trilemma.Split(x), ctx)
    entropy = math.log(2 * math.pi * math.e) + math.log(0.3)
    assert float(-model.log_prob(x, ctx).mean()) < entropy + 0.1
