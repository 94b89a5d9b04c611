"""The likelihood by kernel density estimation, against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KernelDensity

import trilemma
from trilemma.plugins.metrics.kde_nll import KdeNll, kde_nll

Array = NDArray[np.float64]
Clouds = Callable[..., tuple[Array, Array]]


def test_kde_nll_is_that_of_scikit_learn(clouds: Clouds) -> None:
    real, generated = clouds(300, 3)
    width = 0.7
    peer = KernelDensity(bandwidth=width).fit(generated).score(real) / len(real)
    assert kde_nll(real=real, generated=generated, bandwidths=np.array([width])) == pytest.approx(-peer)


def test_the_bandwidth_maximizes_the_leave_one_out_likelihood(clouds: Clouds) -> None:
    real, generated = clouds(60, 2)
    widths = np.array([0.05, 0.2, 0.5, 1.0, 3.0])
    scores = [
        sum(
            KernelDensity(bandwidth=h).fit(np.delete(generated, i, 0)).score(generated[i : i + 1])
            for i in range(len(generated))
        )
        for h in widths
    ]
    chosen = widths[int(np.argmax(scores))]
    alone = kde_nll(real=real, generated=generated, bandwidths=np.array([chosen]))
    assert kde_nll(real=real, generated=generated, bandwidths=widths) == pytest.approx(alone)


def test_kde_nll_is_an_estimate_beside_that_of_the_data(known: Any) -> None:
    nll, excess = KdeNll(KdeNll.Config(n=300, draws=3)).compute(known.replay(known.Normals()))
    assert nll.likelihood == excess.likelihood == "estimate"
    truth = -float(known.Normals().log_prob(known.Normals().splits.test).mean())
    assert nll.floor == pytest.approx(nll.details["oracle"])
    assert truth < nll.floor < truth + 0.4, "the estimator is worse than the distribution, in the units of the data"
    assert excess.value == pytest.approx(nll.value - nll.floor)
    assert abs(excess.value) < 0.1
    with pytest.raises(trilemma.UnsupportedError):
        KdeNll(KdeNll.Config(n=50, draws=2)).compute(known.replay(known.Images()))
