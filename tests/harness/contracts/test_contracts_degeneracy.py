"""The degeneracy report of a dataset's card."""

from __future__ import annotations

import pytest
import torch

from trilemma.harness.contracts.degeneracy import degeneracy


def gaussian(n: int = 5_000, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_continuous_data_is_not_degenerate() -> None:
    found = degeneracy(gaussian(), None)
    assert found.unbounded_because == ""
    assert found.tied_rows == 0
    assert found.largest_atom < 1e-3
    assert 0.8 < found.least_eigenvalue < 1


def test_an_atom_is_found_in_its_coordinate() -> None:
    x = gaussian()
    x[:500, 2] = 1.5
    found = degeneracy(x, None)
    assert found.largest_atom == pytest.approx(0.1)
    assert found.atom_coordinate == 2
    assert "coordinate 2" in found.unbounded_because


def test_a_plane_is_found() -> None:
    x = gaussian().double()
    x[:, 3] = x[:, 0] - 2 * x[:, 1]
    found = degeneracy(x, None)
    assert found.least_eigenvalue < 1e-8
    assert "linear" in found.unbounded_because


def test_tied_rows_and_constant_coordinates_are_counted() -> None:
    x = gaussian(100)
    x[:10] = x[0]
    x[:, 1] = 3.0
    found = degeneracy(x, None)
    assert found.tied_rows == pytest.approx(0.1)
    assert found.constant_coordinates == 1


def test_images_are_dequantized_and_so_never_unbounded() -> None:
    x = torch.randint(0, 2, (200, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = degeneracy(x, 2)
    assert found.largest_atom > 0.4
    assert found.unbounded_because == ""
