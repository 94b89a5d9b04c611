"""The denoising diffusion GAN: its noise levels, its steps, and the chain of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trilemma
from trilemma.plugins.diffusion.ode import ddim_step
from trilemma.plugins.gan.ddgan import Ddgan
from trilemma.plugins.gan.game import AdversarialModel


def test_levels_are_geometric_from_the_detail_to_the_start(built: Callable[..., AdversarialModel]) -> None:
    four = built(Ddgan()).game
    torch.testing.assert_close(four.high, torch.tensor([0.0704, 0.31, 1.363, 6.0]).double(), atol=1e-3, rtol=0)
    assert torch.equal(four.low[1:], four.high[:-1])
    assert float(four.low[0]) == 0
    assert torch.equal(four.detail[1:], four.high[:-1])
    assert float(four.detail[0]) == pytest.approx(0.016)
    eight = built(Ddgan(Ddgan.Config(steps=8))).game
    torch.testing.assert_close(eight.high[1::2], four.high)
    assert built(Ddgan(Ddgan.Config(steps=1))).game.high.tolist() == pytest.approx([6.0])


def test_pairs_have_the_covariance_of_the_diffusion(
    generator: Callable[..., torch.Generator], built: Callable[..., AdversarialModel]
) -> None:
    game, n = built(Ddgan()).game, 100_000
    x = torch.full((4 * n, 2), 0.5)
    x_t, x_next = (points.reshape(4, -1) for points in game.pairs(x, generator()))
    torch.testing.assert_close((x_t - 0.5).square().mean(1), (game.low**2).float(), rtol=0.02, atol=1e-9)
    torch.testing.assert_close((x_next - 0.5).square().mean(1), (game.high**2).float(), rtol=0.02, atol=0)
    shared = ((x_t - 0.5) * (x_next - 0.5)).mean(1) / (game.low * game.high).clamp(min=1e-9)
    torch.testing.assert_close(shared, (game.low / game.high), rtol=0.05, atol=0.01, check_dtype=False)


def test_step_draws_from_the_posterior(generator: Callable[..., torch.Generator]) -> None:
    # (x_t, x_{t+1}) given x_0 is Gaussian with covariance [[s^2, s^2], [s^2, t^2]]; levels differ by row.
    n, clean, seen = 200_000, 0.4, 1.5
    low = torch.tensor([0.0, 0.3, 1.3], dtype=torch.float64).repeat_interleave(n)
    high = torch.tensor([0.07, 1.3, 6.0], dtype=torch.float64).repeat_interleave(n)
    x_next, x_0 = (torch.full((3 * n, 1), value, dtype=torch.float64) for value in (seen, clean))
    drawn = ddim_step(x_0, x_next, high, low, 1.0, generator()).reshape(3, n)
    for row, s, t in zip(drawn, (0.0, 0.3, 1.3), (0.07, 1.3, 6.0), strict=True):
        covariance = np.array([[s**2, s**2], [s**2, t**2]])
        mean = clean + covariance[0, 1] / covariance[1, 1] * (seen - clean)
        variance = covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]
        assert float(row.mean()) == pytest.approx(mean, abs=0.01)
        assert float(row.var()) == pytest.approx(variance, rel=0.01, abs=1e-12)


class GaussianPosterior(nn.Module):
    """Draws x_0 given x_0 + s n for x_0 ~ N(0, C) exactly, by the latent; without it, the posterior mean."""

    def __init__(self, covariance: Tensor, sigmas: Tensor, noisy: bool) -> None:
        super().__init__()
        self.covariance, self.sigmas, self.noisy = covariance, sigmas, noisy

    def forward(self, x: Tensor, z: Tensor, at: slice) -> Tensor:
        (s,) = self.sigmas[at].float()
        gain = self.covariance @ torch.linalg.inv(self.covariance + s**2 * torch.eye(2))
        factor = torch.linalg.cholesky(self.covariance - gain @ self.covariance)
        drawn: Tensor = x @ gain.T + float(self.noisy) * z @ factor.T
        return drawn


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_chain_reproduces_the_distribution_under_the_exact_posterior_and_not_under_its_mean(
    steps: int, context: Callable[..., trilemma.Context], built: Callable[..., AdversarialModel]
) -> None:
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    model, found = built(Ddgan(Ddgan.Config(steps=steps, latent=2))), []
    for noisy in (True, False):
        model.game.generator = GaussianPosterior(covariance, model.game.high, noisy)  # type: ignore[assignment]
        found.append(model.sample(60_000, context()).T.cov())
    torch.testing.assert_close(found[0], covariance, atol=0.025, rtol=0)
    assert float(found[1].det()) < 0.8 * float(covariance.det())
