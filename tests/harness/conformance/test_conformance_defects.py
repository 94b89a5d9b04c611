"""The planted defects: each is what it says, measured on its points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import trilemma
from trilemma.harness.conformance.defects import IMAGES, VECTORS
from trilemma.harness.conformance.panel import PLANS, Bench

N = 4000


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def planted(space: str, name: str, strength: int, n: int = N) -> Tensor:
    """Points with a defect, in data space."""
    data = PLANS[space].load(0)
    (defect,) = [defect for defect in PLANS[space].defects if defect.name == name]
    return defect.plant(n, data.supply(0), defect.amounts[strength], generator())


def truth(space: str, n: int = N) -> Tensor:
    return PLANS[space].load(0).supply(0).take(n, generator())[0]


def nearest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of points in the plane to the nearest of the eight centers at radius 2, and which one it is."""
    angles = torch.arange(8) * math.pi / 4
    centers = 2 * torch.stack([angles.cos(), angles.sin()], 1).double()
    found = torch.cdist(x, centers).min(1)
    return found.values, found.indices


def shares(x: Tensor) -> list[float]:
    """The shares of the eight modes, in ascending order."""
    return sorted((torch.bincount(nearest(x)[1], minlength=8) / len(x)).tolist())


def test_every_defect_changes_the_points_and_keeps_their_shape_and_number() -> None:
    for space, n in (("2d", 300), ("16d", 300), ("digits", 200)):
        shape = truth(space, n).shape
        for defect in PLANS[space].defects:
            weak, strong = (planted(space, defect.name, strength, n) for strength in (0, 1))
            assert weak.shape == strong.shape == shape
            assert weak.dtype == torch.float64
            assert not torch.equal(weak, strong)


def test_the_truth_is_the_distribution() -> None:
    distance, mode = nearest(truth("2d", 20_000))
    assert float(distance.square().mean()) == pytest.approx(2 * 0.2**2, rel=0.03), "a Rayleigh mean square"
    assert torch.bincount(mode).double().div(20_000) == pytest.approx(torch.full((8,), 0.125).numpy(), abs=0.01)
    assert float(truth("16d").var(0).mean()) > 1, "unit variance within modes, and that of the centers"


@pytest.mark.parametrize("strength", [0, 1])
def test_shift_and_scale_move_mean_and_deviation(strength: int) -> None:
    deviation = math.sqrt(2**2 / 2 + 0.2**2)  # of each coordinate: a circle of radius 2, and the spread within modes
    moved = planted("2d", "shift", strength).mean(0) / deviation
    assert moved.numpy() == pytest.approx([(0.05, 0.2)[strength]] * 2, abs=0.06)
    narrow = planted("2d", "narrower", strength).std(0)
    assert narrow.numpy() == pytest.approx([(0.95, 0.8)[strength] * deviation] * 2, rel=0.03)
    wide = planted("2d", "wider", strength).std(0)
    assert wide.numpy() == pytest.approx([(1.05, 1.25)[strength] * deviation] * 2, rel=0.03)


@pytest.mark.parametrize(("name", "factors"), [("modes narrower", (0.9, 0.7)), ("modes wider", (1.25, 1.5))])
def test_modes_are_narrower_or_wider(name: str, factors: tuple[float, float]) -> None:
    for strength, factor in enumerate(factors):
        distance, _ = nearest(planted("2d", name, strength))
        assert float(distance.square().mean()) == pytest.approx(2 * (0.2 * factor) ** 2, rel=0.06)


def test_modes_are_gone_lose_points_or_are_skewed() -> None:
    assert shares(planted("2d", "modes gone", 0))[:2] == pytest.approx([0, 1 / 7], abs=0.02)
    assert shares(planted("2d", "modes gone", 1))[:3] == pytest.approx([0, 0, 1 / 6], abs=0.02)
    assert shares(planted("2d", "mode loses", 0))[:2] == pytest.approx([0.075, 0.95 / 7 - 0.004], abs=0.015)
    assert shares(planted("2d", "mode loses", 1))[0] == pytest.approx(0.025, abs=0.01)
    weights = 0.75 ** np.arange(8)
    assert shares(planted("2d", "modes skewed", 1)) == pytest.approx(sorted(weights / weights.sum()), abs=0.02)


def test_bridges_and_outliers_have_their_shares() -> None:
    known = float((nearest(truth("2d"))[0] > 0.6).double().mean())
    # Neighboring centers are 1.53 apart. A point on the segment is more than 3 sigma from both for u in (.39, .61).
    for strength, share in ((0, 0.02), (1, 0.05)):
        far = float((nearest(planted("2d", "bridges", strength))[0] > 0.6).double().mean())
        assert 0.1 * share < far - known < 0.5 * share
    for strength, count in ((0, 8), (1, 40)):
        radii = planted("2d", "outliers", strength).norm(dim=1)
        assert int((radii > 10).sum()) == count
        assert int((radii > 4).sum()) == count


def test_duplicates_and_training_points() -> None:
    assert len(planted("2d", "duplicates", 0).unique(dim=0)) == N / 2
    assert len(planted("2d", "duplicates", 1).unique(dim=0)) == N / 4
    train = {row.numpy().tobytes() for row in PLANS["2d"].load(0).splits.train.double()}
    for strength, share in ((0, 0.5), (1, 1.0)):
        x = planted("2d", "memorized", strength)
        assert sum(row.numpy().tobytes() in train for row in x) == share * N
        assert len(x.unique(dim=0)) == N


def test_unrelated_coordinates_keep_their_marginals_alone() -> None:
    x = planted("16d", "unrelated", 1, 20_000)
    before = torch.corrcoef(truth("16d", 20_000).T).fill_diagonal_(0).abs()
    after = torch.corrcoef(x.T).fill_diagonal_(0).abs()
    assert float(before.max()) > 0.3
    assert float(after.max()) == pytest.approx(float(before.max()) / 2, abs=0.05), "half of the points are unrelated"
    assert x.sort(0).values.numpy() == pytest.approx(truth("16d", 20_000).sort(0).values.numpy())


def test_heavy_tails_have_the_same_covariance() -> None:
    inside = [planted("2d", "heavy tails", strength, 40_000) for strength in (0, 1)]
    distance = [nearest(x)[0].square() for x in inside]
    assert float(distance[0].mean()) == pytest.approx(2 * 0.2**2, rel=0.05)
    # E r^4 / (E r^2)^2 of a t with nu degrees of freedom in the plane is 2 (nu - 2) / (nu - 4); of a Gaussian it is 2.
    assert float(distance[0].square().mean() / distance[0].mean() ** 2) == pytest.approx(2 * 8 / 6, rel=0.1)
    assert float(distance[1].median()) < 0.7 * float(distance[0].median()), "a t of 3 degrees is peaked"


def test_images_get_noise_blur_and_less_contrast() -> None:
    clean = truth("digits", 200)
    noise = planted("digits", "pixel noise", 1, 200) - clean
    assert float(noise.std()) == pytest.approx(0.06 * 16, rel=0.03)
    blurred = planted("digits", "blur", 1, 200)
    weights = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]).double() / 16
    smooth = float((weights * clean[7, 0, 2:5, 3:6]).sum())
    assert float(blurred[7, 0, 3, 4]) == pytest.approx(0.7 * float(clean[7, 0, 3, 4]) + 0.3 * smooth)
    assert float(planted("digits", "contrast", 1, 200).std() / clean.std()) == pytest.approx(0.8, rel=1e-6)
    moved = planted("digits", "moved", 1, 200)
    assert torch.equal(moved[..., 1:], clean[..., :-1])
    junk = planted("digits", "junk", 1, 200)
    changed = (junk != clean).flatten(1).any(1)
    assert int(changed.sum()) == 10
    assert torch.equal(junk.flatten(1).sort(1).values, clean.flatten(1).sort(1).values)


def test_digits_are_gone() -> None:
    data = PLANS["digits"].load(3)
    labels = data.supply(0).take(600, generator())[1]
    keep = torch.ones(10, dtype=torch.float64)
    keep[[3, 4]] = 0
    assert set(labels.tolist()) == set(range(10))
    assert not {3, 4} & set(data.supply(0).take(500, generator(), keep)[1].tolist())


def test_no_image_is_in_two_parts_and_the_pool_can_be_used_up() -> None:
    data = PLANS["digits"].load(0)
    splits = data.splits
    assert len(splits.train) + len(splits.valid) + len(splits.test) + len(data.pool) == 1797
    supply = data.supply(0)
    first, second = supply.take(260, generator())[0], supply.take(260, generator())[0]
    rows = [image.numpy().tobytes() for image in torch.cat([first, second, splits.test.double()])]
    assert len(set(rows)) == len(rows)
    with pytest.raises(trilemma.UnsupportedError, match="fewer draws"):
        supply.take(260, generator())


def test_repeats_have_other_points_and_a_repeat_is_the_same_again() -> None:
    for space in PLANS:
        one, again, other = (Bench(PLANS[space], repeat).evaluation() for repeat in (0, 0, 1))
        for draw in (0, 1):
            assert np.array_equal(one.real(200, draw), again.real(200, draw))
            assert not np.array_equal(one.real(200, draw), other.real(200, draw))
            assert np.array_equal(one.generate(200, draw), again.generate(200, draw))
            assert not np.array_equal(one.generate(200, draw), other.generate(200, draw))


def test_samples_of_an_evaluation_are_valid_images() -> None:
    bench = Bench(PLANS["digits"], 0)
    for defect in IMAGES:
        levels = bench.evaluation(defect, "strong").samples(100)
        assert levels.dtype == torch.uint8
        assert int(levels.max()) <= 16
    clean = bench.evaluation().samples(100)
    known = {image.numpy().tobytes() for image in bench.data.pool}
    assert all(image.numpy().tobytes() in known for image in clean), "the way to model space and back loses nothing"


def test_defects_are_not_where_the_first_points_are() -> None:
    (outliers,) = [defect for defect in VECTORS if defect.name == "outliers"]
    far = np.linalg.norm(Bench(PLANS["2d"], 0).evaluation(outliers, "strong").generate(2000), axis=1) > 10
    assert far.sum() == 20
    assert not far[:20].all()
