"""The spline that maps a sample to a normal one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trilemma.plugins.flows.gaussianize import gaussianizing_spline
from trilemma.plugins.flows.spline import rational_quadratic


def peaks(n: int, seed: int) -> Tensor:
    """Two coordinates with sharp peaks: five peaks far apart, and two unequal peaks."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(5, (n,), generator=generator) - 2.0
    second = (torch.rand(n, generator=generator) < 0.2).float()
    return 0.7 * torch.stack([first, 2 * second - 0.4], 1) + 0.02 * torch.randn((n, 2), generator=generator)


@pytest.mark.parametrize("bins", [16, 48])
def test_a_gaussianizing_spline_makes_marginals_normal(bins: int) -> None:
    params = gaussianizing_spline(peaks(4_096, 1), bins, 4.0)
    assert params.shape == (3 * bins - 1, 2)
    x = peaks(4_000, 2)
    y, log_slopes = rational_quadratic(bins, 4.0).forward(params.unsqueeze(2).expand(-1, -1, len(x)), x.T)
    gain = (log_slopes - 0.5 * y.square() + 0.5 * x.T.square()).mean(1)  # over N(0, I) as it is
    assert (gain > 2).all()
    quantiles = torch.distributions.Normal(0, 1).cdf(y)
    grid = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(quantiles.quantile(grid, dim=1).T, grid.expand(2, -1), atol=0.06, rtol=0)


@pytest.mark.parametrize("points", [torch.zeros(512, 2), torch.randn(2, 2), 1e4 * torch.randn(300, 3)])
def test_a_gaussianizing_spline_of_odd_points_is_finite(points: Tensor) -> None:
    params = gaussianizing_spline(points, 8, 4.0)
    y, log_slopes = rational_quadratic(8, 4.0).forward(params.unsqueeze(2).expand(-1, -1, len(points)), points.T)
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_slopes).all()
