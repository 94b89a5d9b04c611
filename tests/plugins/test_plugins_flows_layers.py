"""The parts of flows: splines, masks, linear layers, numerical inverses, folds; against autograd and definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from trilemma.plugins.flows.autoregressive import Autoregressive
from trilemma.plugins.flows.base import NormalMixture, StandardNormal
from trilemma.plugins.flows.cnf import Velocity
from trilemma.plugins.flows.flow import CHUNK, Bijection, Flow, Inverse
from trilemma.plugins.flows.fused import FusedCouplings, FusedMasked, FusedPerceptron
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.images import Convolutional, FactorOut, Flatten, Squeeze
from trilemma.plugins.flows.linear import ActNorm, LULinear
from trilemma.plugins.flows.planar import Planar, Radial
from trilemma.plugins.flows.rad import Fold
from trilemma.plugins.flows.rootfind import solve_increasing
from trilemma.plugins.flows.sylvester import Sylvester
from trilemma.plugins.flows.transforms import Elementwise, additive


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Splines


@pytest.mark.parametrize("bins", [2, 8])
def test_the_splines_written_out_derivatives(bins: int) -> None:
    params = normal(3 * bins - 1, 2, 9, seed=1).requires_grad_()
    x = normal(2, 9, seed=2, scale=2.0).requires_grad_()
    forward = fused_rational_quadratic(bins, 3.0).forward
    assert torch.autograd.gradcheck(forward, (params, x))


def test_parameters_that_points_share_are_broadcast() -> None:
    spline = fused_rational_quadratic(4, 3.0)
    shared = normal(11, 2, 1, seed=1).requires_grad_()
    x = normal(2, 9, seed=2, scale=2.0).requires_grad_()
    assert torch.autograd.gradcheck(spline.forward, (shared, x))
    y, log_slope = spline.forward(shared, x)
    torch.testing.assert_close(y, spline.forward(shared.expand(-1, -1, 9), x)[0])
    back, log_back = spline.inverse(shared, y)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_back, -log_slope)


def test_the_splines_inverse_has_the_right_gradient() -> None:
    params = normal(11, 2, 9, seed=1).requires_grad_()
    y = normal(2, 9, seed=2, scale=2.0).requires_grad_()
    assert torch.autograd.gradcheck(fused_rational_quadratic(4, 3.0).inverse, (params, y))


def reference_spline(params: Tensor, x: Tensor, bins: int, bound: float) -> float:
    """One point through Durkan et al. 2019, eq. 4, in plain Python."""

    def clip(value: float, limit: float) -> float:
        return value / (1 + abs(value) / limit)

    limit = math.log(1000)
    raw = params.tolist()
    edges = []
    for part in (raw[:bins], raw[bins : 2 * bins]):
        weights = [math.exp(clip(v, limit / 2)) for v in part]
        sizes = [2 * bound * w / sum(weights) for w in weights]
        edges.append([-bound + sum(sizes[:k]) for k in range(bins + 1)])
    slopes = [1.0, *[math.exp(clip(v, limit)) for v in raw[2 * bins :]], 1.0]
    point = float(x)
    if abs(point) >= bound:
        return point
    xs, ys = edges
    k = max(i for i in range(bins) if xs[i] <= point)
    w, h = xs[k + 1] - xs[k], ys[k + 1] - ys[k]
    s, t = h / w, (point - xs[k]) / w
    numerator = h * (s * t * t + slopes[k] * t * (1 - t))
    return ys[k] + numerator / (s + (slopes[k + 1] + slopes[k] - 2 * s) * t * (1 - t))


@given(st.integers(0, 2**31), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_the_spline_is_that_of_the_paper(seed: int, bins: int) -> None:
    params, x = normal(3 * bins - 1, 6, seed=seed, scale=2.0), normal(6, seed=seed + 1, scale=2.0)
    y, log_slope = fused_rational_quadratic(bins, 3.0).forward(params, x)
    expected = [reference_spline(params[:, i], x[i], bins, 3.0) for i in range(6)]
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64))
    step = 1e-6
    difference = fused_rational_quadratic(bins, 3.0).forward(params, x + step)[0] - y
    torch.testing.assert_close(difference / step, log_slope.exp(), rtol=1e-2, atol=1e-2)


@given(st.integers(0, 2**31), st.floats(0.1, 3.0), st.integers(2, 32))
@settings(max_examples=25, deadline=None)
def test_the_spline_inverts_inside_and_is_the_identity_outside(seed: int, scale: float, bins: int) -> None:
    params, x = normal(3 * bins - 1, 50, seed=seed, scale=scale), normal(50, seed=seed + 1, scale=2.5)
    spline = fused_rational_quadratic(bins, 3.5)
    y, log_slope = spline.forward(params, x)
    back, log_back = spline.inverse(params, y)
    torch.testing.assert_close(back, x, atol=1e-10, rtol=0)
    torch.testing.assert_close(log_back, -log_slope, atol=1e-8, rtol=0)
    outside = x.abs() >= 3.5
    assert torch.equal(y[outside], x[outside])
    assert not log_slope[outside].any()


def test_the_spline_is_finite_with_its_gradient_at_extremes() -> None:
    params = torch.tensor([[-1e6, 0.0, 1e6]]).repeat(23, 1).requires_grad_()
    x = torch.tensor([-1e3, 3.5, 1e3]).requires_grad_()
    y, log_slope = fused_rational_quadratic(8, 3.5).forward(params, x)
    (y.sum() + log_slope.sum()).backward()
    for tensor in (y, log_slope, params.grad, x.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()


# Transformations of functions: what batching over seeds and compilation rely on


def test_flows_batch_over_parameters() -> None:
    torch.manual_seed(0)
    flows = [
        Flow([FusedCouplings(3, 2, fused_rational_quadratic(4, 3.0), (8,))], StandardNormal((3,))).double()
        for _ in range(3)
    ]
    for flow in flows:
        scatter(flow)
    parameters, buffers = torch.func.stack_module_state(flows)
    x = normal(5, 3)

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        z, logdet = torch.func.functional_call(flows[0], (parameters, buffers), (x,))
        return (z.square().sum(1) - logdet).mean()

    batched = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)
    for i, flow in enumerate(flows):
        single = torch.func.grad(loss)(dict(flow.named_parameters()), dict(flow.named_buffers()))
        for name, gradient in single.items():
            torch.testing.assert_close(batched[name][i], gradient)


@pytest.mark.slow
@pytest.mark.parametrize("elementwise", [fused_affine(3.0), fused_rational_quadratic(8, 3.5)], ids=["affine", "spline"])
def test_flows_compile_as_one_graph(elementwise: object) -> None:
    torch.manual_seed(0)
    flow = Flow([FusedCouplings(2, 2, elementwise, (16,))], StandardNormal((2,)))  # type: ignore[arg-type]
    scatter(flow)
    x = normal(64, 2).float()
    compiled = torch.compile(flow.log_prob, fullgraph=True)
    torch.testing.assert_close(compiled(x), flow.log_prob(x), atol=1e-4, rtol=1e-4)
    compiled(x).mean().backward()
    found = [p.grad.clone() for p in flow.parameters() if p.grad is not None]
    flow.zero_grad()
    flow.log_prob(x).mean().backward()
    expected = [p.grad for p in flow.parameters() if p.grad is not None]
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("elementwise", [fused_affine(3.0), fused_rational_quadratic(4, 3.0)], ids=["affine", "spline"])
@pytest.mark.parametrize("d", [2, 5, 6])
@pytest.mark.parametrize("count", [1, 5])
def test_couplings_recorded_as_one_step_have_the_gradients_of_their_layers(
    d: int, count: int, elementwise: Elementwise
) -> None:
    torch.manual_seed(0)
    layer = FusedCouplings(d, count, elementwise, (8, 8), octaves=2).double()
    scatter(layer)
    parameters = dict(layer.named_parameters())
    x = normal(7, d)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        z, logdet = torch.func.functional_call(layer, parameters, (x,))
        return (z.square().sum(1) - logdet).square().sum()

    expected, expected_x = torch.func.grad(loss, argnums=(0, 1))(parameters, x)  # layer by layer
    *found, found_x = torch.autograd.grad(loss(parameters, x.requires_grad_()), [*parameters.values(), x])
    torch.testing.assert_close(found_x, expected_x)
    for one, (name, two) in zip(found, expected.items(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_every_coordinate_moves_and_shuffled_couplings_invert() -> None:
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
def test_couplings_start_at_given_parameters_of_what_they_move(d: int) -> None:
    torch.manual_seed(0)
    layer, seen = FusedCouplings(d, 4, fused_affine(3.0), (8,)).double(), []

    def standardize(moving: Tensor) -> Tensor:
        seen.append(moving.shape[1])
        return torch.stack([-moving.mean(0), torch.zeros(moving.shape[1])])

    x = normal(50, d) + 3
    layer.start(x, standardize)
    assert seen == [d - d // 2, d // 2] * 2
    torch.testing.assert_close(layer(x)[0].mean(0), torch.zeros(d, dtype=torch.float64), atol=1e-9, rtol=0)


def test_recorded_couplings_refuse_a_second_derivative() -> None:
    flow = Flow([FusedCouplings(2, 2, fused_affine(3.0), (8,))], StandardNormal((2,)))
    scatter(flow)
    x = normal(4, 2).float().requires_grad_()
    (slope,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_densities_and_draws_do_not_depend_on_the_chunks() -> None:
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


def scatter(module: nn.Module) -> None:
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


# Conditioners and written derivatives


def test_the_affine_maps_written_out_derivatives() -> None:
    params, x = normal(2, 3, 5, scale=3.0).requires_grad_(), normal(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(fused_affine(2.0).forward, (params, x))
    assert torch.autograd.gradcheck(fused_affine(2.0).inverse, (params, x))


@pytest.mark.parametrize("octaves", [0, 2])
def test_a_perceptrons_written_out_derivatives(octaves: int) -> None:
    torch.manual_seed(0)
    net = FusedPerceptron(2, 3, 2, (8, 8), octaves=octaves, last_gain=1.0).double()
    names, weights = zip(*net.named_parameters(), strict=True)

    def output(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(output, (normal(5, 2).requires_grad_(), *weights))


def test_dropout_passes_gradients_through_the_units_that_are_on() -> None:
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
def test_masks_let_a_coordinate_see_those_before_it_alone(octaves: int) -> None:
    torch.manual_seed(0)
    order = torch.tensor([2, 0, 3, 1])
    net = FusedMasked(order, 3, (16, 16), octaves=octaves, last_gain=1.0).double()
    jacobian = torch.autograd.functional.jacobian(lambda p: net(p[None])[:, :, 0], normal(4))  # (3, 4, 4)
    seen = jacobian.abs().sum(0) > 1e-9
    assert torch.equal(seen, order.unsqueeze(1) > order)


def test_a_perceptron_gives_points_last() -> None:
    torch.manual_seed(0)
    net = FusedPerceptron(2, 3, 5, (8,), octaves=1, last_gain=1.0)
    x = normal(7, 2).float()
    out = net(x)
    assert out.shape == (5, 3, 7)
    torch.testing.assert_close(net(x[3:4])[:, :, 0], out[:, :, 3])


# Bijections


def bijections(d: int) -> list[Bijection]:
    torch.manual_seed(1)
    layers: list[Bijection] = [
        ActNorm(d),
        LULinear(d),
        Planar(d),
        Radial(d),
        Sylvester(d, 2),
        Inverse(Planar(d)),
        Autoregressive(fused_affine(2.0), FusedMasked(torch.arange(d), 2, (16,), last_gain=1.0)),
        Autoregressive(additive(), FusedMasked(torch.arange(d), 1, (16,), last_gain=1.0)),
        Inverse(
            Autoregressive(fused_rational_quadratic(4, 3.0), FusedMasked(torch.arange(d), 11, (16,), last_gain=1.0))
        ),
    ]
    for layer in layers:
        scatter(layer)
    return [layer.double() for layer in layers]


@pytest.mark.parametrize("index", range(9))
def test_layers_invert_with_autograds_determinant(index: int) -> None:
    layer, x = bijections(4)[index], normal(6, 4, seed=3)
    y, logdet = layer(x)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda p: layer(p[None])[0][0], p) for p in x])
    torch.testing.assert_close(logdet, torch.linalg.slogdet(jacobians).logabsdet, atol=1e-9, rtol=1e-9)
    back, back_logdet = layer.inverse(y)
    torch.testing.assert_close(back, x, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(back_logdet, -logdet, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", [Planar, Radial])
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 20.0))
@settings(max_examples=25, deadline=None)
def test_planar_and_radial_layers_invert_whatever_their_parameters(
    kind: type[Bijection], seed: int, scale: float
) -> None:
    torch.manual_seed(seed)
    layer = kind(3).double()  # type: ignore[call-arg]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=scale if parameter.ndim else min(scale, 3.0))
    x = normal(20, 3, seed=seed)
    y = layer(x)[0]
    torch.testing.assert_close(layer(layer.inverse(y)[0])[0], y, atol=1e-9, rtol=1e-9)


def test_numerical_inverses_have_the_gradient_of_the_implicit_function() -> None:
    for layer in (Planar(3).double(), Sylvester(3, 3).double()):
        names, values = zip(*layer.named_parameters(), strict=True)

        def inverse(y: Tensor, *values: Tensor, layer: Bijection = layer, names: tuple[str, ...] = names) -> Tensor:
            wrapped = Inverse(layer)
            state = {f"layer.{name}": value for name, value in zip(names, values, strict=True)}
            x, logdet = torch.func.functional_call(wrapped, state, (y,))
            return torch.cat([x, logdet.unsqueeze(1)], dim=1)

        assert torch.autograd.gradcheck(inverse, (normal(4, 3).requires_grad_(), *values))


def test_solving_an_increasing_function() -> None:
    target = torch.linspace(-50, 50, 101, dtype=torch.float64)
    found = solve_increasing(lambda s: (s**3 + s, 3 * s**2 + 1), target, torch.full_like(target, -9), target * 0 + 9)
    torch.testing.assert_close(found**3 + found, target)


def test_actnorm_starts_at_mean_zero_and_deviation_one() -> None:
    layer = ActNorm(2)
    images = 3 * normal(50, 2, 4, 4).float() + torch.tensor([5.0, -40.0]).reshape(2, 1, 1)
    layer.initialize(images)
    y = layer(images)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std(1), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(4, 4), (2, 3)])
def test_a_convolutional_conditioner_with_points_last_is_its_definition(size: tuple[int, int]) -> None:
    net = Convolutional(3, 2, size, width=5, hidden=6, dense=7, dropout=0.4).double().eval()
    for number, parameter in enumerate(net.parameters()):
        parameter.data = normal(*parameter.shape, seed=number, scale=0.5)
    x = normal(9, 3, *size, seed=20)
    dense = net.spread(F.silu(net.squeeze(x.flatten(1)))) + net.place.flatten()
    channels = F.silu(F.conv2d(x, net.kernel, padding=1) + dense.reshape(9, 6, *size))
    wanted = F.conv2d(channels, net.last.weight[..., None, None], net.last.bias).reshape(9, 5, 2, *size)
    torch.testing.assert_close(net(x.movedim(0, -1)), wanted.movedim(0, -1))


def test_factored_out_channels_come_back() -> None:
    x = normal(3, 4, 2, 2)
    layer = FactorOut(Flatten((2, 2, 2)), (4, 2, 2))
    y, logdet = layer(x)
    assert y.shape == (3, 16)
    assert not logdet.any()
    assert torch.equal(layer.inverse(y)[0], x)
    squeezed = Squeeze()(x)[0]
    assert squeezed.shape == (3, 16, 1, 1)
    assert torch.equal(Squeeze().inverse(squeezed)[0], x)


# The rest


def test_a_mixture_base_is_its_own_closed_form() -> None:
    torch.manual_seed(0)
    base = NormalMixture(2, 3)
    nn.init.normal_(base.logits)
    z = base.sample(50, torch.Generator().manual_seed(0))
    weights = torch.distributions.Categorical(logits=base.logits)
    parts = torch.distributions.Independent(torch.distributions.Normal(base.means, base.log_scales.exp()), 1)
    expected = torch.distributions.MixtureSameFamily(weights, parts).log_prob(z)
    torch.testing.assert_close(base.log_prob(z), expected)


def test_a_folds_preimages_share_the_mass_of_their_image() -> None:
    torch.manual_seed(0)
    fold = Fold(2, 0, (8,)).double()
    scatter(fold)
    x, _ = fold.draw(normal(4000, 2, scale=2.0), torch.Generator().manual_seed(0))
    z, density = fold(x)
    again, expected = fold.draw(z, torch.Generator().manual_seed(1))
    back, given = fold(again)
    torch.testing.assert_close(back, z, atol=1e-12, rtol=0)
    torch.testing.assert_close(given, expected, atol=1e-9, rtol=1e-9)
    changed = (again - x).abs().sum(1) > 1e-9
    assert 0.05 < changed.double().mean() < 0.95
    assert torch.isfinite(density).all()


def test_a_velocitys_products_are_those_of_its_jacobian() -> None:
    torch.manual_seed(0)
    net = Velocity(3, (16, 16)).double()
    x, vectors, t = normal(5, 3), normal(2, 5, 3, seed=1), torch.tensor(0.3, dtype=torch.float64)
    _, products = net(x, t, vectors)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda p: net(p[None], t, vectors[:0, :1])[0][0], x[i])
        torch.testing.assert_close(products[:, i], vectors[:, i] @ jacobian.T)
