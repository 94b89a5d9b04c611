"""The error of a score, against autograd and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trilemma
from trilemma.plugins.metrics.score_error import ScoreError, log_sigma_integral, mixture_score


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
    exact, far = ScoreError(config).compute(known.replay(known.Normals(), knows=True))
    assert exact.value == pytest.approx(0, abs=1e-3), "single precision"
    assert exact.floor == 0
    assert not far.ranks
    off, off_far = ScoreError(config).compute(known.replay(known.Normals(), error=0.3, knows=True))
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


def test_models_and_distributions_without_a_score_are_unsupported(known: Any) -> None:
    with pytest.raises(trilemma.UnsupportedError, match="no score"):
        ScoreError().compute(known.replay(known.Normals()))
    with pytest.raises(trilemma.UnsupportedError, match="not known"):
        ScoreError().compute(known.replay(known.Images()))
