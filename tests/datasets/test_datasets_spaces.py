"""Data space to model space and back on real chains: forward, inverse and log-determinant agree with autograd."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from scipy import stats
from torch import Tensor

import trilemma
from trilemma.datasets.digits import Digits
from trilemma.datasets.mixtures import Ring8
from trilemma.harness.evaluation.spaces import Space

SpaceName = Literal["affine", "logit"]


class Pixel(trilemma.Dataset):
    """One pixel of four levels."""

    name = "pixel"
    kind = "image"
    levels = 4

    def load(self) -> trilemma.Splits:
        x = torch.tensor([0, 0, 1, 2, 3, 3, 3, 1], dtype=torch.uint8).reshape(-1, 1, 1, 1)
        return trilemma.Splits(x, x[:2], x[2:4])


def check_log_determinant(space: Space, x: Tensor) -> None:
    _, logdet = space.to_model(x)
    assert logdet.shape == (len(x),)
    for row, point in enumerate(x[:5]):
        jacobian = torch.autograd.functional.jacobian(lambda p: space.to_model(p.unsqueeze(0))[0][0].flatten(), point)
        reference = torch.linalg.slogdet(jacobian.reshape(point.numel(), point.numel())).logabsdet
        torch.testing.assert_close(logdet[row], reference, rtol=1e-10, atol=1e-8)


def test_vector_chain() -> None:
    dataset = Ring8()
    space = Space.fit(dataset, flatten=True)
    x = dataset.splits.test.double()
    y, _ = space.to_model(x)
    train = space.to_model(dataset.splits.train.double())[0]
    torch.testing.assert_close(train.mean(0), torch.zeros(2).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(train.std(0), torch.ones(2).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(space.to_data(y), x, atol=1e-12, rtol=0)
    assert space.support is None
    check_log_determinant(space, x)


@pytest.mark.parametrize("image_space", ["affine", "logit"])
@pytest.mark.parametrize("flatten", [True, False])
def test_image_chain(image_space: SpaceName, flatten: bool) -> None:
    dataset = Digits()
    space = Space.fit(dataset, flatten=flatten, image_space=image_space)
    levels = dataset.splits.test
    x = space.dequantize(levels, torch.Generator().manual_seed(0))[0]
    assert torch.equal(x.floor().to(torch.uint8), levels)
    y, _ = space.to_model(x)
    assert y.shape == ((270, 64) if flatten else (270, 1, 8, 8))
    assert torch.equal(space.to_data(y), levels)
    assert space.support is not None
    for level, end in zip((0.0, 17.0), space.support, strict=True):
        flat = space.to_model(torch.full_like(x[:1], level))[0]
        torch.testing.assert_close(flat, torch.full_like(flat, end))
    check_log_determinant(space, x)


@pytest.mark.parametrize("image_space", ["affine", "logit"])
def test_float32_agrees_with_float64(image_space: SpaceName) -> None:
    space = Space.fit(Digits(), flatten=True, image_space=image_space)
    x = space.dequantize(Digits().splits.test, torch.Generator().manual_seed(0))[0]
    (y64, logdet64), (y32, logdet32) = space.to_model(x), space.to_model(x.float())
    assert y32.dtype == torch.float32
    torch.testing.assert_close(y32.double(), y64, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logdet32.double(), logdet64, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("image_space", ["affine", "logit"])
def test_density_carried_to_data_space_keeps_its_mass(image_space: SpaceName) -> None:
    """A standard normal in model space puts on the levels 0 to 4 the mass between their images."""
    space = Space.fit(Pixel(), flatten=True, image_space=image_space)
    x = torch.linspace(0, 4, 400_001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    y, logdet = space.to_model(x)
    p = torch.exp(torch.distributions.Normal(0, 1).log_prob(y[:, 0]) + logdet)
    mass = float(torch.trapezoid(p, dx=1e-5))
    assert mass == pytest.approx(stats.norm.cdf(float(y[-1])) - stats.norm.cdf(float(y[0])), abs=1e-5)


def test_uniform_over_the_levels_has_log2_levels_bits_per_dim() -> None:
    """Uniform on (0, 1) after scaling is log2 17 bits/dim: the chain's scale and the levels agree."""
    space = Space.fit(Digits(), flatten=True)
    x = space.dequantize(Digits().splits.test, torch.Generator().manual_seed(0))[0]
    _, logdet = space.transforms[0].forward(x)
    torch.testing.assert_close(-logdet / (64 * math.log(2)), torch.full((270,), math.log2(17)).double())


def test_nothing_is_fitted_on_test_or_validation_data() -> None:
    class Altered(Digits):
        """Digits with other held-out splits."""

        def load(self) -> trilemma.Splits:
            splits = super().load()
            return replace(splits, valid=splits.valid * 0, test=splits.test * 0 + 16)

    x = Digits().splits.train.double() + 0.5
    for image_space in ("affine", "logit"):
        one, other = (Space.fit(cls(), flatten=True, image_space=image_space) for cls in (Digits, Altered))
        assert torch.equal(one.to_model(x)[0], other.to_model(x)[0])


def test_constant_coordinate_is_refused() -> None:
    class Flat(trilemma.Dataset):
        """Two columns, the second constant."""

        name = "flat"

        def load(self) -> trilemma.Splits:
            x = torch.stack([torch.arange(10.0), torch.ones(10)], 1)
            return trilemma.Splits(x, x, x)

    with pytest.raises(trilemma.DataError, match=r"coordinates \[1\] are constant"):
        Space.fit(Flat(), flatten=True)


def test_digits_are_those_of_scikit_learn() -> None:
    dataset = Digits()
    splits = dataset.splits
    assert [tuple(part.shape) for part in (splits.train, splits.valid, splits.test)] == [
        (1258, 1, 8, 8),
        (269, 1, 8, 8),
        (270, 1, 8, 8),
    ]
    assert splits.train.dtype == torch.uint8
    every = torch.cat([splits.train, splits.valid, splits.test])
    assert (int(every.min()), int(every.max())) == (0, dataset.levels - 1)
    assert float((every == 0).float().mean()) == pytest.approx(0.488, abs=0.002)
    card = dataset.card()
    assert (card.kind, card.levels, card.entropy) == ("image", 17, None)
    assert not dataset.has_density


def test_noise_of_its_own_distribution_is_paid_for_by_its_log_density() -> None:
    """Beta noise and uniform noise bound the same log-probability; exactly so for the posterior of the density."""
    levels = torch.randint(0, 4, (20_000, 1), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    def square_root(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """u = sqrt(U) has density q(u) = 2 u."""
        u = torch.rand(x.shape, generator=generator, dtype=torch.float64).sqrt()
        return u, (2 * u).log().flatten(1).sum(1)

    space = replace(Space((1,), True, 4, ()), noise=square_root)
    x, log_q = space.dequantize(levels, torch.Generator().manual_seed(1))
    assert torch.equal(x.floor().to(torch.uint8), levels)
    # The density p(x) = (1/4) 2 (x - floor x) gives each level probability 1/4, and q is its posterior: no slack.
    log_p = (0.25 * 2 * (x - x.floor())).log()[:, 0]
    torch.testing.assert_close(log_p - log_q, torch.full((20_000,), math.log(0.25), dtype=torch.float64))


def test_points_stay_on_their_device() -> None:
    x = torch.zeros((5, 2), dtype=torch.float64, device="meta")
    space = Space.fit(Ring8(), flatten=True)
    for values in (*space.to_model(x), *space.dequantize(x, torch.Generator())):
        assert values.device.type == "meta"
