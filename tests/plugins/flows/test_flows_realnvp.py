"""RealNVP: invertibility, Jacobians, mass and far points, against autograd and quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.flows.realnvp import RealNVP


def vector_info(d: int) -> trilemma.DataInfo:
    return trilemma.DataInfo(name="toy", kind="vector", shape=(d,), n_train=4_000)


def context(d: int, seed: int = 0, **fields: object) -> trilemma.Context:
    generator = torch.Generator().manual_seed(seed)
    return trilemma.Context(info=vector_info(d), device=torch.device("cpu"), generator=generator, **fields)  # type: ignore[arg-type]


def two_blobs(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.tensor([[-1.0, -0.8], [1.0, 0.8]])
    chosen = torch.randint(2, (n,), generator=generator)
    return centers[chosen] + 0.35 * torch.randn((n, 2), generator=generator)


def random_flow(d: int, seed: int = 0, **config: object) -> RealNVP:
    """A flow whose layers are far from the identity, because the last layers are drawn at random instead of 0."""
    torch.manual_seed(seed)
    model = RealNVP(RealNVP.Config(**config))  # type: ignore[arg-type]
    model.build(vector_info(d))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model.eval()


@pytest.fixture(scope="module")
def trained() -> RealNVP:
    model = RealNVP(RealNVP.Config(transforms=6, hidden=(48, 48)))
    clock = trilemma.Clock(trilemma.Budget(steps=300))
    train, valid = trilemma.Split(two_blobs(4_000, 1)), trilemma.Split(two_blobs(1_000, 2))
    model.fit(train, context(2, valid=valid, clock=clock, recipe=RealNVP.recipe))
    return model


@pytest.mark.parametrize("d", [2, 3, 8])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-12)])
def test_round_trip(d: int, dtype: torch.dtype, tolerance: float) -> None:
    model = random_flow(d).to(dtype)
    x = torch.randn((500, d), generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        z, logdet = model.flow(x)
        back, back_logdet = model.flow.inverse(z)
    assert (z - x).abs().max() > 0.1
    assert (back - x).abs().max() <= tolerance
    torch.testing.assert_close(back_logdet, -logdet, atol=20 * tolerance, rtol=0)


@pytest.mark.parametrize("d", [2, 3, 8])
def test_log_determinant_agrees_with_autograd(d: int) -> None:
    model = random_flow(d).double()
    x = torch.randn((6, d), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda p: model.flow(p[None])[0][0], p) for p in x])
    torch.testing.assert_close(model.flow(x)[1], torch.linalg.slogdet(jacobians).logabsdet)


def test_every_coordinate_moves_and_is_moved_by_others() -> None:
    model = random_flow(6).double()
    x = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    jacobian = torch.autograd.functional.jacobian(lambda p: model.flow(p[None])[0][0], x)
    assert (jacobian.abs() > 1e-9).all()


@pytest.mark.parametrize("d", [2, 64])
def test_far_points_have_finite_densities(d: int) -> None:
    model = random_flow(d)
    directions = torch.nn.functional.normalize(torch.randn((200, d), generator=torch.Generator().manual_seed(4)), dim=1)
    for radius in (20.0, 1e3):
        values = model.log_prob(radius * directions, context(d))
        assert torch.isfinite(values).all()


def mass(model: trilemma.Model, low: float, high: float, points: int) -> float:
    """The mass of the model on a square, by the midpoint rule."""
    edge = (high - low) / points
    axis = low + edge * (torch.arange(points) + 0.5)
    grid = torch.cartesian_prod(axis, axis)
    return sum(float(model.log_prob(part, context(2)).double().exp().sum()) for part in grid.split(5_000)) * edge**2


def test_density_has_unit_mass(trained: RealNVP) -> None:
    assert mass(random_flow(2), -10, 10, 400) == pytest.approx(1, abs=1e-2)
    assert mass(trained, -6, 6, 300) == pytest.approx(1, abs=1e-2)


def test_trained_density_is_close_to_the_true_density(trained: RealNVP) -> None:
    x = two_blobs(4_000, 3)
    components = torch.stack([((x - c) / 0.35).square().sum(1) for c in torch.tensor([[-1.0, -0.8], [1.0, 0.8]])])
    truth = torch.logsumexp(-0.5 * components, 0) - math.log(2 * 2 * math.pi * 0.35**2)
    # E_p[q / p] = 1 for a normalized q that covers p, and the gap is a divergence: small and not negative.
    ratio = trained.log_prob(x, context(2)) - truth
    assert ratio.exp().mean() == pytest.approx(1, abs=0.05)
    assert -0.02 < -ratio.mean() < 0.15


def test_samples_follow_the_density(trained: RealNVP) -> None:
    x = trained.sample(20_000, context(2, seed=5))
    axis = torch.linspace(-6, 6, 301)[:-1] + 0.02
    grid = torch.cartesian_prod(axis, axis)
    density = trained.log_prob(grid, context(2)).exp() * 0.04**2
    torch.testing.assert_close(x.mean(0), density @ grid, atol=0.04, rtol=0)
    torch.testing.assert_close(x.T @ x / len(x), (grid.T * density) @ grid, atol=0.06, rtol=0)


def test_trained_round_trip_in_single_precision(trained: RealNVP) -> None:
    x = two_blobs(2_000, 4)
    with torch.no_grad():
        assert (trained.flow.inverse(trained.flow(x)[0])[0] - x).abs().max() <= 5e-5


def test_state_restores_the_flow_with_its_permutations() -> None:
    model, other = random_flow(5, seed=0), random_flow(5, seed=1)
    x = torch.randn((20, 5), generator=torch.Generator().manual_seed(6))
    assert not torch.allclose(model.log_prob(x, context(5)), other.log_prob(x, context(5)))
    state = model.state()
    assert state is not None
    other.load_state(state)
    assert torch.equal(model.log_prob(x, context(5)), other.log_prob(x, context(5)))


def test_a_single_coordinate_is_refused() -> None:
    with pytest.raises(trilemma.UnsupportedError, match="2 coordinates"):
        RealNVP().build(vector_info(1))
