"""How many rows a table needs before the quality verdict sees what a model gets wrong.

`pytest -m slow -s tests/plugins/metrics/test_metrics_rows.py` prints the table of docs/own-data.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.datasets.few_rows import ENOUGH_TEST_ROWS, TOLD, few_rows
from trilemma.plugins.metrics.witness_energy import WitnessEnergy

CLUSTERS = 5
ROWS = (50, 100, 200, 500, 1000, 2000)
COLUMNS = (2, 8, 20)
Draw = Callable[[int, torch.Generator], Tensor]


class Rows(trilemma.Dataset):
    """A table of `n` rows from a random mixture of five clusters, read as own data: 70 % training, 20 % test."""

    name = "rows"
    standardized = True

    def __init__(self, n: int, d: int, seed: int) -> None:
        super().__init__()
        self.n, self.d, self.seed = n, d, seed
        rng = np.random.default_rng((n, d, seed))
        self.centers = torch.from_numpy(rng.normal(scale=2.0, size=(CLUSTERS, d)))
        self.mixing = torch.from_numpy(rng.normal(size=(CLUSTERS, d, d)) / d**0.5)

    def draw(self, n: int, generator: torch.Generator, *, lost: int | None = None, wider: float = 1.0) -> Tensor:
        """Points of the mixture, or of one that has lost a cluster, or whose clusters are wider."""
        kinds = [kind for kind in range(CLUSTERS) if kind != lost]
        kind = torch.tensor(kinds)[torch.randint(len(kinds), (n,), generator=generator)]
        noise = torch.randn(n, self.d, generator=generator, dtype=torch.float64)
        return self.centers[kind] + wider * torch.einsum("nij,nj->ni", self.mixing[kind], noise)

    def load(self) -> trilemma.Splits:
        points = self.draw(self.n, torch.Generator().manual_seed(self.seed)).float()
        n_valid, n_test = self.n // 10, self.n // 5
        return trilemma.Splits(*torch.split(points, [self.n - n_valid - n_test, n_valid, n_test]))


def gaussian(data: Rows, n: int, generator: torch.Generator) -> Tensor:
    """One Gaussian with the mean and covariance of the mixture."""
    points = data.draw(20_000, torch.Generator().manual_seed(1))
    factor = torch.linalg.cholesky(points.T.cov())
    return points.mean(0) + torch.randn(n, data.d, generator=generator, dtype=torch.float64) @ factor.T


def independent(data: Rows, n: int, generator: torch.Generator) -> Tensor:
    """Each column by itself."""
    return torch.stack([data.draw(n, generator)[:, column] for column in range(data.d)], 1)


DEFECTS: dict[str, Callable[[Rows, int, torch.Generator], Tensor]] = {
    "none": lambda data, n, generator: data.draw(n, generator),
    "one of five clusters is lost": lambda data, n, generator: data.draw(n, generator, lost=0),
    "clusters 1.25 times too wide": lambda data, n, generator: data.draw(n, generator, wider=1.25),
    "one Gaussian": gaussian,
    "independent columns": independent,
}


def told(planted: Any, n: int, d: int, repeats: int) -> dict[str, float]:
    """The share of random tables of `n` rows in which the verdict tells each defect from the truth."""
    found: dict[str, list[bool]] = {name: [] for name in DEFECTS}
    for seed in range(repeats):
        data = Rows(n, d, seed)
        for name, defect in DEFECTS.items():
            draw: Draw = lambda k, generator, defect=defect, data=data: defect(data, k, generator)  # noqa: E731
            result = WitnessEnergy().compute(planted.evaluation(data, draw, seed))[0]
            found[name].append(result.value > result.noise)
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_more_rows_tell_more(planted: Any) -> None:
    few, many = (told(planted, n, 8, 1) for n in (50, 2000))
    assert all(many[name] == (name != "none") for name in DEFECTS)
    assert sum(few.values()) < sum(many.values())


def test_few_rows_are_said_with_what_was_measured() -> None:
    assert few_rows(ENOUGH_TEST_ROWS) == []
    (said,) = few_rows(57)
    assert "57 test rows decide little: in simulated tables with 40 test rows" in said
    assert f"{TOLD[40]:.0%} of the cases, and with 200 in {TOLD[200]:.0%}; these are 1,000 rows" in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_rows_that_are_enough(planted: Any) -> None:
    shares = {n: [told(planted, n, d, 10) for d in COLUMNS] for n in ROWS}
    means = {n: {name: float(np.mean([share[name] for share in of])) for name in DEFECTS} for n, of in shares.items()}
    print(f"\n| | {' | '.join(f'{n:,} rows' for n in ROWS)} |")
    for name in DEFECTS:
        print(f"| {name} | {' | '.join(f'{means[n][name]:.2f}' for n in ROWS)} |")
    for n_test, share in TOLD.items():
        assert means[5 * n_test]["one of five clusters is lost"] == pytest.approx(share, abs=0.1)
    assert max(of["none"] for of in means.values()) <= 0.15
    enough = means[5 * ENOUGH_TEST_ROWS]
    assert min(share for name, share in enough.items() if name != "none") >= 0.9
