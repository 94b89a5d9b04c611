"""The error of a score, against autograd and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trilemma
from trilemma.plugins.metrics.score_error import ScoreError, log_sigma_integral, mixture_score, ratio_interval


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), sigma=st.floats(0.01, 30))
def test_the_score_of_a_mixture_is_the_gradient_of_its_smoothed_density(seed: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(3, 2, generator=generator, dtype=torch.float64)
    roots = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)
    covariances = roots @ roots.mT + 0.05 * torch.eye(2, dtype=torch.float64)
    weights = torch.rand(3, generator=generator, dtype=torch.float64) + 0.1
    weights = weights / weights.sum()
    x = 4 * torch.randn(10, 2, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    components = torch.distributions.MultivariateNormal(centers, covariances + sigma**2 * torch.eye(2).double())
    log_prob = (components.log_prob(x[:, None]) + weights.log()).logsumexp(1)
    (expected,) = torch.autograd.grad(log_prob.sum(), x)
    found = mixture_score(x.detach(), centers=centers, weights=weights, covariances=covariances, sigma=sigma)
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_modes_are_carried_to_model_space(known: Any) -> None:
    evaluation = known.replay(known.Normals())
    modes = evaluation.model_space_modes()
    assert modes is not None
    train = known.Normals().splits.train.double()
    assert torch.allclose(modes.centers, (known.Normals.centers - train.mean(0)) / train.std(0))
    assert torch.allclose(modes.covariances[1], torch.diag((known.Normals.scale / train.std(0)) ** 2))


def test_the_true_score_has_no_error_and_a_constant_one_its_closed_form(known: Any) -> None:
    config = ScoreError.Config(n=50, levels=40, sigma_min=0.1, sigma_max=5.0)
    exact, far, *_ = ScoreError(config).compute(known.replay(known.Normals(), knows=True))
    assert exact.value == pytest.approx(0, abs=1e-3), "single precision"
    assert exact.floor == 0
    assert not far.ranks
    off, off_far, *_ = ScoreError(config).compute(known.replay(known.Normals(), error=0.3, knows=True))
    squared = 2 * 0.3**2  # of two coordinates
    assert off.details["fisher_near"] == pytest.approx([squared / 2] * 40, rel=1e-3)
    assert off.details["fisher_far"] == pytest.approx([squared / 2] * 40, rel=0.05)
    closed_form = squared * (5**2 - 0.1**2) / 2  # the integral of sigma^2 over ln(sigma)
    assert off.value == pytest.approx(closed_form, rel=0.01)
    assert off_far.value == pytest.approx(closed_form, rel=0.01)
    assert off.unit == "nats"


def test_the_score_error_of_a_shifted_gaussian_bounds_its_divergence() -> None:
    """For N(0, I) taken for N(m, I): |s - s*| = |m| / (1 + sigma^2); the integral up to infinity is KL = |m|^2 / 2."""
    sigmas = np.geomspace(1e-3, 1e3, 400)
    m = 1.7
    squared = np.full((400, 1), m**2) / (1 + sigmas[:, None] ** 2) ** 2
    found = log_sigma_integral(squared * sigmas[:, None] ** 2, sigmas)
    assert found == pytest.approx(m**2 / 2, rel=1e-3)


def test_the_relative_error_near_the_data_is_its_closed_form_for_modes_far_apart(known: Any) -> None:
    evaluation = known.replay(known.Normals(), error=0.3, knows=True)
    found = known.results(ScoreError(ScoreError.Config(n=4000, levels=2, sigma=0.05)), evaluation)
    modes = evaluation.model_space_modes()
    assert modes is not None
    # The mean squared score of a Gaussian is the trace of its precision.
    size = float((1 / (modes.covariances[0].diagonal() + 0.05**2)).sum())
    near, far = found["relative_score_error"], found["relative_score_error_far"]
    assert near.value == pytest.approx(2 * 0.3**2 / size, rel=0.05)
    assert near.ci_low is not None
    assert near.ci_high is not None
    assert near.ci_low < 2 * 0.3**2 / size < near.ci_high
    assert near.details["sigma"] == 0.05
    assert not near.ranks
    assert "map" not in far.details


def test_the_map_is_the_relative_error_of_each_point_of_a_grid(known: Any) -> None:
    evaluation = known.replay(known.Normals(), error=0.3, knows=True)
    drawn = known.results(ScoreError(ScoreError.Config(n=2, levels=2, sigma=0.2, side=7)), evaluation)[
        "relative_score_error"
    ].details["map"]
    modes = evaluation.model_space_modes()
    assert modes is not None
    components = torch.distributions.MultivariateNormal(modes.centers, modes.covariances + 0.04 * torch.eye(2))
    for i, j in ((0, 0), (2, 5), (6, 3)):
        x = torch.tensor([[drawn["x"][j], drawn["y"][i]]], dtype=torch.float64, requires_grad=True)
        log_prob = (components.log_prob(x[:, None]) + modes.weights.log()).logsumexp(1)
        (true,) = torch.autograd.grad(log_prob.sum(), x)
        assert drawn["values"][i][j] == pytest.approx(math.sqrt(2) * 0.3 / max(1, float(true.norm())), rel=0.01)
        drawn["log_density"][i][j] -= float(log_prob.detach())
    constant = drawn["log_density"][0][0]
    assert drawn["log_density"][2][5] == pytest.approx(constant, abs=0.11)  # three digits are kept
    assert drawn["log_density"][6][3] == pytest.approx(constant, abs=0.11)  # three digits are kept


def test_a_score_of_one_noise_level_is_compared_there_alone(known: Any) -> None:
    class OneLevel(known.Replay):  # type: ignore[misc]
        """Knows its score at one noise level."""

        def score_levels(self) -> tuple[float, float]:
            return 0.25, 0.25

        def score(self, x: torch.Tensor, sigma: torch.Tensor, ctx: trilemma.Context) -> torch.Tensor:
            assert float(sigma) == 0.25
            found: torch.Tensor = super().score(x, sigma, ctx)
            return found

    evaluation = known.replay(known.Normals(), error=0.1, knows=True)
    distribution, evaluation.model = evaluation.model.distribution, OneLevel(evaluation.model.config)
    evaluation.model.distribution = distribution
    results = known.results(ScoreError(), evaluation)
    assert set(results) == {"relative_score_error", "relative_score_error_far"}
    assert results["relative_score_error"].details["sigma"] == 0.25


@pytest.mark.parametrize(
    ("levels", "options", "integrals", "level"),
    [
        ((0.0, math.inf), {}, True, 0.1),
        ((0.03, 40.0), {}, True, 0.1),
        ((0.2, 1e3), {}, False, 0.2),
        ((0.0, 4.0), {}, False, 0.1),
        ((0.0, 4.0), {"sigma_max": 4.0}, True, 0.1),
        ((5.0, 9.0), {}, False, 5.0),
    ],
)
def test_a_score_is_compared_where_it_is_known_and_integrated_only_over_the_whole_grid(
    known: Any, levels: tuple[float, float], options: dict[str, float], integrals: bool, level: float
) -> None:
    class Limited(known.Replay):  # type: ignore[misc]
        """Knows its score between two noise levels."""

        def score_levels(self) -> tuple[float, float]:
            return levels

        def score(self, x: torch.Tensor, sigma: torch.Tensor, ctx: trilemma.Context) -> torch.Tensor:
            assert levels[0] * (1 - 1e-6) <= float(sigma) <= levels[1] * (1 + 1e-6)
            found: torch.Tensor = super().score(x, sigma, ctx)
            return found

    evaluation = known.replay(known.Normals(), error=0.1, knows=True)
    distribution, evaluation.model = evaluation.model.distribution, Limited(evaluation.model.config)
    evaluation.model.distribution = distribution
    results = known.results(ScoreError(ScoreError.Config(**options)), evaluation)
    assert ("score_error" in results) == ("score_error_far" in results) == integrals
    relative = results["relative_score_error"]
    assert relative.details["sigma"] == level
    assert relative.details.get("conditions", "") == ("" if level == 0.1 else f"noise level {level:g}")


@pytest.mark.parametrize("levels", [(math.nan, math.nan), (5.0, 0.1), (-1.0, 2.0)])
def test_levels_that_are_no_range_are_an_error(known: Any, levels: tuple[float, float]) -> None:
    evaluation = known.replay(known.Normals(), error=0.1, knows=True)
    evaluation.model.score_levels = lambda: levels
    with pytest.raises(ValueError, match=r"score_levels of model .* returns"):
        known.results(ScoreError(), evaluation)


def test_the_interval_of_a_ratio_contains_it(known: Any) -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(400):
        sizes = rng.gamma(2.0, 1.0, 200)
        value, low, high = ratio_interval(0.5 * sizes + rng.gamma(1.0, 1.0, 200), sizes)
        assert low is not None
        assert high is not None
        inside += low < 0.5 + 1.0 / 2.0 < high
        assert low < value < high
    assert 0.92 < inside / 400 < 0.98


def test_models_and_distributions_without_a_score_are_unsupported(known: Any) -> None:
    with pytest.raises(trilemma.UnsupportedError, match="no score"):
        ScoreError().compute(known.replay(known.Normals()))
    with pytest.raises(trilemma.UnsupportedError, match="not known"):
        ScoreError().compute(known.replay(known.Images()))
