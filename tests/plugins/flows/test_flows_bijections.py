"""The other layers of flows: linear, planar, autoregressive, multiscale; against autograd and definitions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trilemma.plugins.flows.autoregressive import Autoregressive
from trilemma.plugins.flows.base import NormalMixture
from trilemma.plugins.flows.flow import Bijection, Inverse
from trilemma.plugins.flows.fused import FusedMasked
from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.images.layers import FactorOut, Flatten, Squeeze
from trilemma.plugins.flows.linear import ActNorm, BatchNorm, LULinear, Permuted
from trilemma.plugins.flows.planar import Planar, Radial
from trilemma.plugins.flows.rootfind import solve_increasing
from trilemma.plugins.flows.sylvester import Sylvester
from trilemma.plugins.flows.transforms import additive


def bijections(scatter: Callable[..., None], d: int) -> list[Bijection]:
    torch.manual_seed(1)
    layers: list[Bijection] = [
        ActNorm(d),
        LULinear(d),
        Planar(d, 3),
        Radial(d, 3),
        Sylvester(d, 2),
        Inverse(Planar(d, 2)),
        Autoregressive(fused_affine(2.0), FusedMasked(torch.arange(d), 2, (16,), last_gain=1.0)),
        BatchNorm(d).eval(),
        Permuted.shuffled(d),
        Permuted.reversed(d),
        Autoregressive(additive(), FusedMasked(torch.arange(d), 1, (16,), last_gain=1.0)),
        Inverse(
            Autoregressive(fused_rational_quadratic(4, 3.0), FusedMasked(torch.arange(d), 11, (16,), last_gain=1.0))
        ),
    ]
    for layer in layers:
        scatter(layer)
    return [layer.double() for layer in layers]


@pytest.mark.parametrize("index", range(12))
def test_layers_invert_and_their_determinants_agree_with_autograd(
    normal: Callable[..., Tensor], scatter: Callable[..., None], index: int
) -> None:
    layer, x = bijections(scatter, 4)[index], normal(6, 4, seed=3)
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
    normal: Callable[..., Tensor], kind: type[Bijection], seed: int, scale: float
) -> None:
    torch.manual_seed(seed)
    layer = kind(3, 1).double()  # type: ignore[call-arg]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=scale if parameter.ndim > 1 else min(scale, 3.0))
    x = normal(20, 3, seed=seed)
    y = layer(x)[0]
    torch.testing.assert_close(layer(layer.inverse(y)[0])[0], y, atol=1e-9, rtol=1e-9)


def test_numerical_inverses_have_the_gradient_of_the_implicit_function(normal: Callable[..., Tensor]) -> None:
    for layer in (Planar(3, 2).double(), Sylvester(3, 3).double()):
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


def test_actnorm_starts_at_mean_zero_and_deviation_one(normal: Callable[..., Tensor]) -> None:
    layer = ActNorm(2)
    images = 3 * normal(50, 2, 4, 4).float() + torch.tensor([5.0, -40.0]).reshape(2, 1, 1)
    layer.initialize(images)
    y = layer(images)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std(1), torch.ones(2), atol=1e-3, rtol=0)


def test_batch_norm_trains_with_moving_averages_and_the_gradient_of_the_batch(normal: Callable[..., Tensor]) -> None:
    layer, batches = BatchNorm(2).double(), [3 * normal(8, 2, 2, 2, seed=seed) + 1 for seed in range(3)]
    mean, variance = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for batch in batches:
        layer(batch)
        mean = 0.9 * mean + 0.1 * batch.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * batch.var((0, 2, 3), correction=0)
    torch.testing.assert_close(layer.mean, mean)
    torch.testing.assert_close(layer.variance, variance)
    x = normal(6, 2, seed=5)
    torch.testing.assert_close(layer.eval()(x)[0], (x - mean) / (variance + 1e-4).sqrt())

    def output(x: Tensor) -> Tensor:
        layer.mean, layer.variance = mean, variance
        y, logdet = layer.train()(x)
        return y.square().sum() + logdet.sum()

    assert torch.autograd.gradcheck(output, x.requires_grad_())


def test_factored_out_channels_come_back(normal: Callable[..., Tensor]) -> None:
    x = normal(3, 4, 2, 2)
    layer = FactorOut(Flatten((2, 2, 2)), (4, 2, 2))
    y, logdet = layer(x)
    assert y.shape == (3, 16)
    assert not logdet.any()
    assert torch.equal(layer.inverse(y)[0], x)
    squeezed = Squeeze()(x)[0]
    assert squeezed.shape == (3, 16, 1, 1)
    assert torch.equal(Squeeze().inverse(squeezed)[0], x)


def test_a_mixture_base_agrees_with_the_closed_form() -> None:
    torch.manual_seed(0)
    base = NormalMixture(2, 3)
    nn.init.normal_(base.logits)
    z = base.sample(50, torch.Generator().manual_seed(0))
    weights = torch.distributions.Categorical(logits=base.logits)
    parts = torch.distributions.Independent(torch.distributions.Normal(base.means, base.log_scales.exp()), 1)
    expected = torch.distributions.MixtureSameFamily(weights, parts).log_prob(z)
    torch.testing.assert_close(base.log_prob(z), expected)
