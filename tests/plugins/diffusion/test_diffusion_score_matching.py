"""Score matching: the objectives against the Fisher divergence, and both networks after training."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.langevin_samplers import Langevin
from trilemma.plugins.diffusion.score_matching import (
    EnergyMatching,
    ScoreMatching,
    denoising_objective,
    implicit_objective,
    sliced_objective,
)

COVARIANCE = torch.tensor([[1.0, 0.5], [0.5, 0.8]], dtype=torch.float64)


def correlated(n: int, seed: int) -> Tensor:
    return (
        torch.randn((n, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        @ torch.linalg.cholesky(COVARIANCE).T
    )


def fisher_differences(objective: object, x: Tensor, precision: Tensor) -> tuple[float, float]:
    """The excess of the objective for a wrong linear score over the right one: as computed, and in closed form."""
    wrong = torch.tensor([[1.5, -0.2], [-0.2, 0.7]], dtype=torch.float64)
    found = objective(lambda y: -y @ wrong, x) - objective(lambda y: -y @ precision, x)  # type: ignore[operator]
    gap = wrong - precision
    return float(found), float(0.5 * (gap @ torch.linalg.inv(precision) @ gap.T).trace())


def test_objectives_differ_by_the_fisher_divergence(generator: Callable[..., torch.Generator]) -> None:
    x = correlated(100_000, 1)
    precision = torch.linalg.inv(COVARIANCE)
    for objective in (implicit_objective, lambda s, y: sliced_objective(s, y, 2, generator(2))):
        found, expected = fisher_differences(objective, x, precision)
        assert found == pytest.approx(expected, rel=0.05)
    smooth = torch.linalg.inv(COVARIANCE + 0.3**2 * torch.eye(2))
    found, expected = fisher_differences(lambda s, y: denoising_objective(s, y, 0.3, generator(3)), x, smooth)
    assert found == pytest.approx(expected, rel=0.05)


def test_sliced_objective_averages_to_the_implicit_one(generator: Callable[..., torch.Generator]) -> None:
    x = correlated(50, 1)
    weight = torch.randn((2, 2), generator=generator(4), dtype=torch.float64)

    def score(y: Tensor) -> Tensor:
        return (y @ weight).sin()

    many = sliced_objective(score, x, 4_000, generator())
    assert float(many) == pytest.approx(float(implicit_objective(score, x)), abs=0.02)


def test_objectives_have_gradients_in_the_parameters(generator: Callable[..., torch.Generator]) -> None:
    x = correlated(30, 1)
    for objective in (implicit_objective, lambda s, y: sliced_objective(s, y, 1, generator())):
        scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        # E|a x|^2 / 2 - 2 a has the derivative a |x|^2 - 2.
        objective(lambda y, scale=scale: -scale * y, x).backward()  # type: ignore[operator]
        assert scale.grad is not None
        assert float(scale.grad) == pytest.approx(float(0.7 * x.square().sum(1).mean() - 2))


def trained(
    kind: type[ScoreMatching] | type[EnergyMatching], objective: str, context: Callable[..., trilemma.Context]
) -> ScoreMatching | EnergyMatching:
    model = kind(kind.Config(hidden=(48, 48), octaves=0, objective=objective, sigma=0.15))  # type: ignore[arg-type]
    recipe = kind.recipe.model_copy(update={"batch_size": 128})
    clock = trilemma.Clock(trilemma.Budget(steps=300))
    model.fit(trilemma.Split(correlated(4_000, 1).float()), context(clock=clock, recipe=recipe))
    return model


@pytest.mark.parametrize("objective", ["implicit", "sliced", "denoising"])
@pytest.mark.parametrize("kind", [ScoreMatching, EnergyMatching])
def test_trained_score_is_close_to_the_true_score(
    context: Callable[..., trilemma.Context], kind: type[ScoreMatching], objective: str
) -> None:
    model = trained(kind, objective, context)
    x = correlated(1_000, 2).float()
    error = model.score_of(x).detach() + x @ torch.linalg.inv(COVARIANCE).float()
    assert float(error.square().sum(1).mean()) < 0.35  # the score itself has mean square 3.6
    samples = model.sample(2_000, context(sampler=Langevin(steps=400, step=0.01)))
    torch.testing.assert_close(samples.double().T.cov(), COVARIANCE, atol=0.2, rtol=0)


def test_energy_has_a_normalized_density(context: Callable[..., trilemma.Context]) -> None:
    model = trained(EnergyMatching, "denoising", context)
    ctx = context(likelihood=EnergyMatching.Likelihood())
    edge = 0.05
    axis = -7 + edge * (torch.arange(280) + 0.5)
    mass = model.log_prob(torch.cartesian_prod(axis, axis), ctx).exp().sum() * edge**2
    assert float(mass) == pytest.approx(1, abs=5e-3)
    assert ctx.details["method"] == "grid normalizer"
    x = correlated(2_000, 5)
    truth = torch.distributions.MultivariateNormal(torch.zeros(2).double(), COVARIANCE).log_prob(x)
    assert -0.02 < float((truth - model.log_prob(x.float(), ctx)).mean()) < 0.1


def test_energy_score_is_minus_its_gradient(context: Callable[..., trilemma.Context]) -> None:
    model = EnergyMatching()
    model.prepare(context().info)
    x, h = torch.tensor([[0.3, -0.8]]), 1e-2
    for i in range(2):
        step = h * torch.eye(2)[i]
        slope = (model.energy(x + step) - model.energy(x - step)) / (2 * h)
        assert float(model.score_of(x)[0, i]) == pytest.approx(-float(slope), abs=2e-2)


def test_energy_has_no_likelihood_beyond_two_dimensions(context: Callable[..., trilemma.Context]) -> None:
    model = EnergyMatching(EnergyMatching.Config(hidden=(8,)))
    model.prepare(context(shape=(3,)).info)
    with pytest.raises(trilemma.UnsupportedError, match="3 dimensions"):
        model.log_prob(torch.zeros((2, 3)), context(shape=(3,), likelihood=EnergyMatching.Likelihood()))
    assert math.isfinite(float(model.energy(torch.full((1, 3), 1e3))))


@pytest.mark.parametrize("objective", ["sliced", "denoising"])
@pytest.mark.parametrize("kind", [ScoreMatching, EnergyMatching])
def test_score_is_known_at_the_noise_level_of_the_objective_only(
    context: Callable[..., trilemma.Context], kind: type[ScoreMatching], objective: str
) -> None:
    model = kind(kind.Config(hidden=(8,), objective=objective, sigma=0.3))  # type: ignore[arg-type]
    model.prepare(context().info)
    level = {"sliced": 0.0, "denoising": 0.3}[objective]
    assert model.score_levels() == (level, level)
    x = correlated(5, 3).float()
    assert torch.equal(model.score(x, torch.tensor(level), context()), model.score_of(x))
    with pytest.raises(trilemma.UnsupportedError, match=f"noise level {level:g} only, not at 1"):
        model.score(x, torch.tensor(1.0), context())


@pytest.mark.parametrize("d", [1, 2])
def test_silent_energy_network_is_the_standard_normal(context: Callable[..., trilemma.Context], d: int) -> None:
    model, ctx = EnergyMatching(), context(EnergyMatching, shape=(d,))
    model.prepare(ctx.info)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    x = correlated(20, 6).float()[:, :d]
    torch.testing.assert_close(model.score_of(x).detach(), -x)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_prob(x, ctx).float(), normal, atol=1e-4, rtol=0)
