"""What the quality verdict sees: planted defects on ring8 and digits, and other data.

`pytest -m slow -s tests/plugins/metrics/test_metrics_witness_power.py` prints the tables of docs/honest-numbers.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import trilemma
from trilemma.datasets.highdim import Funnel, GaussianMixture16, GaussianMixture64
from trilemma.datasets.mixtures import Ring8
from trilemma.datasets.piecewise import Checkerboard
from trilemma.plugins.metrics.energy_sums import sums_on_lines
from trilemma.plugins.metrics.wasserstein import Wasserstein
from trilemma.plugins.metrics.witness_energy import WitnessEnergy

Array = NDArray[np.float64]
Evaluations = Callable[[int], trilemma.Evaluation]


def found(evaluations: Evaluations, repeats: int, **options: Any) -> float:
    """The share of evaluations whose value is above the noise, which the truth is in 5 %."""
    results = [WitnessEnergy(WitnessEnergy.Config(**options)).compute(evaluations(seed))[0] for seed in range(repeats)]
    return float(np.mean([result.value > result.noise for result in results]))


def table(title: str, shares: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, share in shares.items():
        print(f"| {name} | {share:.2f} |")


def powers(planted: Any, dataset: trilemma.Dataset, repeats: int, **options: Any) -> dict[str, float]:
    """The power of the verdict against each defect of a mixture, and its level."""
    defects = {"none": None, **planted.MIXTURE_DEFECTS}
    return {
        name: found(lambda seed, defect=defect: planted.of_distribution(dataset, defect, seed), repeats, **options)
        for name, defect in defects.items()
    }


def digit_powers(planted: Any, repeats: int) -> dict[str, float]:
    """The power of the verdict against each defect of digits, with a test split of its own in each repeat."""
    shares: dict[str, list[float]] = {}
    for seed in range(repeats):
        dataset = planted.ResampledDigits(seed)
        for name in (None, *planted.DIGIT_DEFECTS):
            evaluation = planted.of_digits(dataset, name, seed)
            share = found(lambda _, evaluation=evaluation: evaluation, 1, n=770)
            shares.setdefault(name or "none", []).append(share)
    return {name: float(np.mean(values)) for name, values in shares.items()}


def test_six_of_seven_defects_of_ring8_are_found(planted: Any) -> None:
    shares = powers(planted, Ring8(), 2)
    assert sum(share == 1 for name, share in shares.items() if name != "none") >= 6
    assert shares["none"] < 1


def test_five_of_seven_defects_of_digits_are_found(planted: Any) -> None:
    shares = digit_powers(planted, 3)
    assert sum(share >= 0.66 for name, share in shares.items() if name != "none") >= 5
    assert shares["none"] < 0.66


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_points_off_the_support_of_a_uniform_distribution_are_found(planted: Any, share: float) -> None:
    def off(x: torch.Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> torch.Tensor:
        k = int(2 * share * len(x))  # half of the square is support
        x[:k] = 8 * torch.rand(k, 2, generator=generator).double() - 4
        return x

    dataset = Checkerboard()
    assert found(lambda seed: planted.of_distribution(dataset, off, seed), 2) == pytest.approx(
        float(share > 0), abs=0.5
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_power_on_ring8(planted: Any) -> None:
    dataset = Ring8()
    shares = powers(planted, dataset, 40)
    table("ring8, 20,000 points", shares)
    assert sum(share >= 0.8 for name, share in shares.items() if name != "none") >= 6
    assert shares["none"] <= 0.15
    seconds = []
    for metric in (WitnessEnergy(), Wasserstein(Wasserstein.Config(n=1000, draws=6))):
        start = time.process_time()
        for seed in range(3):
            metric.compute(planted.of_distribution(dataset, None, seed))
        seconds.append((time.process_time() - start) / 3)
    print("CPU seconds of witness_energy and of wasserstein, 1,000 x 6:", np.round(seconds, 2))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_power_in_16_and_64_dimensions(planted: Any) -> None:
    for dataset, least in ((GaussianMixture16(), 5), (GaussianMixture64(), 6)):
        shares = powers(planted, dataset, 20)
        table(f"{dataset.name}, 20,000 points", shares)
        assert sum(share >= 0.8 for name, share in shares.items() if name != "none") >= least
        assert shares["none"] <= 0.2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_power_on_the_funnel(planted: Any) -> None:
    def neck(x: torch.Tensor, dataset: trilemma.Dataset, generator: torch.Generator) -> torch.Tensor:
        x[:, 0] = x[:, 0].clamp(min=-4.0)  # a tenth of the points lies below
        return x

    defects = {"none": None, "all x.97": planted.scaled(0.97), "the neck is cut at v = -4": neck}
    dataset = Funnel()
    shares = {
        name: found(lambda seed, defect=defect: planted.of_distribution(dataset, defect, seed), 20)
        for name, defect in defects.items()
    }
    table("funnel, 20,000 points", shares)
    assert shares["none"] <= 0.15
    assert shares["the neck is cut at v = -4"] >= 0.8


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_power_on_digits(planted: Any) -> None:
    shares = digit_powers(planted, 60)
    table("digits, 270 against 770 images", shares)
    assert sum(share >= 0.8 for name, share in shares.items() if name != "none") >= 5
    assert shares["none"] <= 0.12


# The mathematics


def test_sums_on_lines_are_sums_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 2)), rng.standard_normal((5, 2)).round(1)
    sums = sums_on_lines(x, y)
    for found_sums, one, two in (
        (sums.real_real, x, x),
        (sums.real_generated, x, y),
        (sums.generated_real, y, x),
        (sums.generated_generated, y, y),
    ):
        assert found_sums == pytest.approx(np.abs(one[:, None] - two[None]).sum(1).mean(1))


def test_the_deviation_is_the_jackknife_over_both_sets() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((9, 1)), 1 + rng.standard_normal((6, 1))

    def energy(x: Array, y: Array) -> float:
        def mean(a: Array, b: Array, pairs: int) -> float:
            return float(np.abs(a - b.T).sum()) / pairs

        m, n = len(x), len(y)
        return 2 * mean(x, y, m * n) - mean(x, x, m * (m - 1)) - mean(y, y, n * (n - 1))

    without = [[energy(np.delete(x, i, 0), y) for i in range(9)], [energy(x, np.delete(y, i, 0)) for i in range(6)]]
    variance = sum((len(values) - 1) * np.var(values) for values in without)
    sums = sums_on_lines(x, y)
    assert sums.energy() == pytest.approx(energy(x, y))
    assert sums.deviation() == pytest.approx(np.sqrt(variance))
