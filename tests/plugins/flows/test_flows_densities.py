"""The densities of trained flows: their mass, their samples, their gain over a Gaussian."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.plugins import Registry

FLOWS = [cls for cls in Registry(builtin_only=True).classes("models").values() if ".plugins.flows." in cls.__module__]
PLANE = [model.name for model in FLOWS if "vector" in model.accepts]
EXACT = [model.name for model in FLOWS if model.likelihood == "exact"]


def double(family: Any, name: str) -> trilemma.NeuralModel:
    """The trained model in double precision."""
    return copy.deepcopy(family.trained(name)).double()


def cell_masses(family: Any, name: str, edges: Tensor) -> Tensor:
    """Mass of the trained model in the cells between the edges on both axes, `(cells, cells)`, by the midpoint rule."""
    middles, widths = (edges[1:] + edges[:-1]) / 2, edges.diff()
    model, grid = double(family, name), torch.cartesian_prod(middles, middles)
    values = torch.cat([model.log_prob(part, family.context(name)) for part in grid.split(20_000)])
    assert values.dtype == torch.float64
    return values.exp().reshape(len(middles), -1) * torch.outer(widths, widths)


@pytest.mark.parametrize("name", PLANE)
def test_density_has_unit_mass(family: Any, name: str) -> None:
    # Fine cells where the data is and where splines act, coarse ones in the tails.
    inner, outer, reach = {
        "cnf": (40, 5, 8),
        "nsf-coupling": (480, 20, 8),  # with 240 cells, the kinks at its 48 bins cost the rule .0015 of the mass
        "nsf-autoregressive": (240, 20, 8),
        "planar": (160, 40, 14),
    }.get(name, (160, 20, 8))
    middle, tail = (
        torch.linspace(low, 4, count + 1, dtype=torch.float64) for low, count in ((-4, inner), (reach, outer))
    )
    mass = cell_masses(family, name, torch.cat([-tail[:-1], middle, tail.flip(0)[1:]])).sum()
    assert float(mass) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in PLANE if name in EXACT])
def test_samples_follow_the_density(family: Any, name: str) -> None:
    n, side, cells = 20_000, 3.0, 12
    x = family.trained(name).sample(n, family.context(name, seed=8))
    edges = torch.linspace(-side, side, cells + 1)
    counts = torch.histogramdd(x, [edges, edges])[0].double()
    parts = 12 if name.startswith("nsf") else 6
    fine = cell_masses(family, name, torch.linspace(-side, side, parts * cells + 1, dtype=torch.float64))
    expected = n * fine.reshape(cells, parts, cells, parts).sum((1, 3))
    filled = expected >= 5
    degrees = int(filled.sum())
    chi_square = float(((counts - expected).square() / expected)[filled].sum())
    assert degrees > 40
    assert abs(chi_square - degrees) < 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("name", EXACT)
def test_a_draw_comes_with_its_own_density(family: Any, name: str) -> None:
    flow = family.trained(name).flow
    with torch.no_grad():
        x, log_q = flow.sample(200, torch.Generator().manual_seed(0))  # type: ignore[union-attr, operator]
    torch.testing.assert_close(log_q, family.trained(name).log_prob(x, family.context(name)), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", PLANE)
def test_training_beats_a_gaussian(family: Any, name: str) -> None:
    if name in ("radial", "planar", "sylvester"):
        pytest.skip("needs more steps than this; see the slow test")
    x, model = family.blobs(4_000, 3), family.trained(name)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    assert model.log_prob(x, family.context(name)).mean() > gaussian.log_prob(x).mean() + 0.02
