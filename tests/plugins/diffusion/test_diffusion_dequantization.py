"""Truncated-normal dequantization: the map within levels, and the bound on the probability of a level in one dimension.

Integrals are by quadrature, and the truncated normal is that of SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.plugins.diffusion.images import VpSdeUnet
from trilemma.plugins.diffusion.likelihood import OdeLikelihood
from trilemma.plugins.diffusion.score_sde import VpSde
from trilemma.plugins.networks.levels import Levels, truncated_normal

Context = Callable[..., trilemma.Context]
Array = NDArray[np.float64]

LEVELS = Levels(-1.0, 0.5, 4)
PROBABILITIES = [0.1, 0.4, 0.2, 0.3]
TAU = 3.0
DEVIATION = 0.5 / (2 * TAU)
DATA = [stats.norm(center, DEVIATION) for center in LEVELS.centers.tolist()]
NOISE = [stats.truncnorm(-TAU, TAU, center, DEVIATION) for center in LEVELS.centers.tolist()]


def log_density(y: Array) -> Array:
    """The log-density of the centers plus normal noise, which a perfect model has at the lowest noise level."""
    density: Array = np.log(sum(p * normal.pdf(y) for p, normal in zip(PROBABILITIES, DATA, strict=True)))
    return density


def mean_in(level: int, values: Callable[[Array], Array]) -> float:
    """The mean of a function over a level, by Gauss-Legendre quadrature with 200 points."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return float(weights @ values(LEVELS.low + LEVELS.width * (level + 0.5 + nodes / 2))) / 2


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def mapped(x: Array) -> Array:
    """The log-density in the space with uniform noise that the map makes of `log_density`."""
    y, logdet = truncated_normal(torch.tensor(x).unsqueeze(1), LEVELS, TAU)
    found: Array = log_density(y[:, 0].numpy()) + logdet.numpy()
    return found


def test_uniform_noise_becomes_the_truncated_normal_of_its_level() -> None:
    shares = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    for k, noise in enumerate(NOISE):
        x = LEVELS.low + LEVELS.width * (k + shares).unsqueeze(1)
        y, logdet = truncated_normal(x, LEVELS, TAU)
        assert noise.cdf(y[:, 0]) == pytest.approx(shares.tolist(), abs=1e-9)
        # Uniform noise has the density 1 / width, and the map carries it to that of the truncated normal.
        assert (-math.log(LEVELS.width) - logdet).tolist() == pytest.approx(noise.logpdf(y[:, 0]).tolist(), abs=1e-9)


def test_points_outside_the_support_stay_and_every_level_is_mapped_to_itself() -> None:
    x = column(-1.7, 1.2, -1.0 + 1e-9, -0.5 - 1e-9, 0.999999999)
    y, logdet = truncated_normal(x, LEVELS, TAU)
    assert torch.equal(y[:2], x[:2])
    assert torch.equal(logdet[:2], torch.zeros(2).double())
    assert y[2:, 0].tolist() == pytest.approx([-1.0, -0.5, 1.0], abs=1e-4)


def test_the_bound_of_a_level_is_below_its_probability_and_tighter_than_with_uniform_noise() -> None:
    total, volume = 0.0, LEVELS.width
    for k, (noise, probability) in enumerate(zip(NOISE, PROBABILITIES, strict=True)):
        # The mean over uniform noise in the level, plus the volume of the level, against its definition by SciPy.
        found = mean_in(k, mapped) + math.log(volume)
        expected = volume * mean_in(k, lambda y, q=noise: q.pdf(y) * (log_density(y) - q.logpdf(y)))  # type: ignore[misc]
        assert found == pytest.approx(expected, abs=1e-4)
        mass = volume * mean_in(k, lambda y: np.exp(log_density(y)))
        assert found < math.log(mass)
        assert found == pytest.approx(math.log(probability), abs=0.01)
        assert mean_in(k, log_density) + math.log(volume) < found - 0.3
        # The mapped density is one: in each level it has the mass that the density of the model has there.
        assert volume * mean_in(k, lambda x: np.exp(mapped(x))) == pytest.approx(mass, abs=1e-4)
        total += mass
    assert total == pytest.approx(1, abs=0.003)  # the rest is outside of the outer levels


def test_the_likelihood_is_that_of_the_noised_centers(context: Context) -> None:
    # One pixel: the ODE's density at the noise level of the truncated normal, with the exact denoiser.
    model, ctx = VpSdeUnet(VpSdeUnet.Config(widths=(4,))), context(shape=(1, 1, 1))
    levels = Levels.of(ctx.info)
    model.prepare(ctx.info)

    class Exact(torch.nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            s = sigma.to(x).reshape(-1, 1, 1, 1, 1) if sigma.ndim else sigma.to(x)
            weights = torch.tensor(PROBABILITIES).log() - 0.5 * ((x.unsqueeze(-1) - levels.centers.to(x)) / s).square()
            return (weights.softmax(-1) * levels.centers.to(x)).sum(-1)

    model.denoiser = Exact()
    ctx.likelihood = VpSdeUnet.Likelihood(steps=100, divergence="exact", dequantization="truncated-normal")
    shares = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    x = levels.low + levels.width * (torch.arange(4).repeat_interleave(50) + shares.repeat(4))
    values = model.log_prob(x.reshape(-1, 1, 1, 1).float(), ctx).reshape(4, 50).mean(1) + math.log(levels.width)
    assert ctx.details["eps"] == pytest.approx(levels.width / 6)
    assert values.tolist() == pytest.approx([math.log(p) for p in PROBABILITIES], abs=0.03)


def test_data_without_levels_has_no_such_likelihood(context: Context) -> None:
    model, ctx = VpSde(VpSde.Config(hidden=(8,))), context(likelihood=OdeLikelihood(dequantization="truncated-normal"))
    model.prepare(ctx.info)
    with pytest.raises(trilemma.UnsupportedError, match="no intensity levels"):
        model.log_prob(torch.zeros(3, 2), ctx)
    with pytest.raises(ValueError, match="method 'ode'"):
        OdeLikelihood(method="bound", dequantization="truncated-normal")


def test_training_on_centers_sees_no_dequantization_noise(context: Context) -> None:
    model, ctx = VpSdeUnet(VpSdeUnet.Config(widths=(4,), centers=True)), context(VpSdeUnet, shape=(1, 2, 2))
    model.prepare(ctx.info)
    levels = Levels.of(ctx.info)
    index = torch.randint(4, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    losses = []
    for share in (0.1, 0.5, 0.9):
        ctx.generator.manual_seed(1)
        losses.append(float(model.loss((levels.low + levels.width * (index + share)).float(), ctx).detach()))
    assert losses[0] == losses[1] == losses[2]
