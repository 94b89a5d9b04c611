"""The elementwise maps of flows: affine, additive and spline, plain and fused, against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trilemma.plugins.flows.fused_maps import fused_affine, fused_rational_quadratic
from trilemma.plugins.flows.spline import rational_quadratic
from trilemma.plugins.flows.transforms import Elementwise, affine, soft_clip

Kind = Callable[..., Elementwise]


@pytest.mark.parametrize("kind", [affine, fused_affine], ids=["plain", "fused"])
@given(seed=st.integers(0, 2**31), bound=st.floats(0.5, 5.0))
@settings(max_examples=25, deadline=None)
def test_affine_map_inverts_and_reports_its_derivative(kind: Kind, seed: int, bound: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    params = 3 * torch.randn((2, 7, 3), generator=generator, dtype=torch.float64)
    x = torch.randn((7, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    elementwise = kind(bound)
    y, logdet = elementwise.forward(params, x)
    slopes = torch.autograd.grad(y.sum(), x)[0]
    torch.testing.assert_close(logdet, slopes.log())
    back, back_logdet = elementwise.inverse(params, y)
    torch.testing.assert_close(back, x, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(back_logdet, -logdet)
    assert (slopes.log().abs() <= bound).all()


def test_soft_clip_is_the_identity_at_zero_and_bounded() -> None:
    x = torch.tensor([-1e6, 0.0, 1e-3, 1e6], dtype=torch.float64)
    clipped = soft_clip(x, 2.0)
    torch.testing.assert_close(clipped, torch.tensor([-2.0, 0.0, 1e-3, 2.0], dtype=torch.float64), atol=1e-5, rtol=0)
    assert (clipped.abs() < 2).all()


@pytest.mark.parametrize("kind", [rational_quadratic, fused_rational_quadratic], ids=["plain", "fused"])
def test_parameters_that_points_share_are_broadcast(normal: Callable[..., Tensor], kind: Kind) -> None:
    spline = kind(4, 3.0)
    shared = normal(11, 2, 1, seed=1).requires_grad_()
    x = normal(2, 9, seed=2, scale=2.0).requires_grad_()
    assert torch.autograd.gradcheck(spline.forward, (shared, x))
    y, log_slope = spline.forward(shared, x)
    torch.testing.assert_close(y, spline.forward(shared.expand(-1, -1, 9), x)[0])
    back, log_back = spline.inverse(shared, y)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_back, -log_slope)


def test_the_splines_inverse_has_the_right_gradient(normal: Callable[..., Tensor]) -> None:
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


@pytest.mark.parametrize("kind", [rational_quadratic, fused_rational_quadratic], ids=["plain", "fused"])
@given(seed=st.integers(0, 2**31), bins=st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_the_spline_agrees_with_the_paper(normal: Callable[..., Tensor], kind: Kind, seed: int, bins: int) -> None:
    params, x = normal(3 * bins - 1, 6, seed=seed, scale=2.0), normal(6, seed=seed + 1, scale=2.0)
    y, log_slope = kind(bins, 3.0).forward(params, x)
    expected = [reference_spline(params[:, i], x[i], bins, 3.0) for i in range(6)]
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64))
    step = 1e-6
    difference = kind(bins, 3.0).forward(params, x + step)[0] - y
    torch.testing.assert_close(difference / step, log_slope.exp(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", [rational_quadratic, fused_rational_quadratic], ids=["plain", "fused"])
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 3.0), bins=st.integers(2, 32))
@settings(max_examples=25, deadline=None)
def test_the_spline_inverts_inside_and_is_the_identity_outside(
    normal: Callable[..., Tensor], kind: Kind, seed: int, scale: float, bins: int
) -> None:
    params, x = normal(3 * bins - 1, 50, seed=seed, scale=scale), normal(50, seed=seed + 1, scale=2.5)
    spline = kind(bins, 3.5)
    y, log_slope = spline.forward(params, x)
    back, log_back = spline.inverse(params, y)
    torch.testing.assert_close(back, x, atol=1e-10, rtol=0)
    torch.testing.assert_close(log_back, -log_slope, atol=1e-8, rtol=0)
    outside = x.abs() >= 3.5
    assert torch.equal(y[outside], x[outside])
    assert not log_slope[outside].any()


@pytest.mark.parametrize("kind", [rational_quadratic, fused_rational_quadratic], ids=["plain", "fused"])
def test_the_spline_is_finite_with_its_gradient_at_extremes(kind: Kind) -> None:
    params = torch.tensor([[-1e6, 0.0, 1e6]]).repeat(23, 1).requires_grad_()
    x = torch.tensor([-1e3, 3.5, 1e3]).requires_grad_()
    y, log_slope = kind(8, 3.5).forward(params, x)
    (y.sum() + log_slope.sum()).backward()
    for tensor in (y, log_slope, params.grad, x.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()
