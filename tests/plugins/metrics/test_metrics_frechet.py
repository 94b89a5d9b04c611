"""The Frechet distance of features, and where encoders come from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import trilemma
from trilemma.plugins.metrics.encoders import feature_distances, load_encoder
from trilemma.plugins.metrics.frechet import Frechet

Array = NDArray[np.float64]


def test_feature_distances_are_closed_forms() -> None:
    pytest.importorskip("torchmetrics")
    rng = np.random.default_rng(7)
    real, generated = rng.standard_normal((400, 3)), 1 + 2 * rng.standard_normal((400, 3))
    state = torch.get_rng_state()
    frechet, kernel = feature_distances(real=real, generated=generated)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    means = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    one, two = np.cov(real.T), np.cov(generated.T)
    root = np.sqrt(np.linalg.eigvals(one @ two).real).sum()
    assert frechet == pytest.approx(means + np.trace(one) + np.trace(two) - 2 * root, rel=1e-6)

    def cubic(a: Array, b: Array) -> Array:
        return (a @ b.T / 3 + 1) ** 3

    n = len(real)
    within = sum((cubic(x, x).sum() - np.trace(cubic(x, x))) / (n * (n - 1)) for x in (real, generated))
    assert kernel == pytest.approx(within - 2 * cubic(real, generated).mean(), rel=1e-3)


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval()
    with torch.no_grad():
        network[1].weight.copy_(torch.linspace(-1, 1, 64).reshape(4, 16).sin())
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(network, (torch.zeros(4, 1, 4, 4),), dynamic_shapes=({0: batch},))
    file = tmp_path_factory.mktemp("encoder") / "linear.pt2"
    torch.export.save(program, file)
    return file


def test_the_frechet_distance_under_a_given_encoder(encoder_file: Path, known: Any) -> None:
    pytest.importorskip("torchmetrics")
    config = Frechet.Config(n=130, draws=2, encoder="exported", weights=str(encoder_file))
    found = {r.metric: r for r in Frechet(config).compute(known.replay(known.Images()))}
    assert set(found) == {"frechet", "frechet_excess", "kernel_distance"}
    for result in found.values():
        assert result.details["encoder"] == "exported:linear"
        assert result.details["encoder_sha256"] == hashlib.sha256(encoder_file.read_bytes()).hexdigest()
        assert result.ci_low is not None
        assert result.floor is not None
    assert found["frechet"].value == found["frechet"].details["P"], "already a squared distance: no root is taken"


def test_an_encoder_is_never_downloaded_and_must_be_readable(tmp_path: Path, known: Any) -> None:
    with pytest.raises(trilemma.UnsupportedError, match="set `weights`"):
        Frechet().compute(known.replay(known.Images()))
    with pytest.raises(trilemma.UnsupportedError, match="needs images"):
        Frechet().compute(known.replay(known.Normals()))
    with pytest.raises(trilemma.DataError, match="does not exist"):
        load_encoder("exported", str(tmp_path / "none.pt2"))
    junk = tmp_path / "junk.pt2"
    junk.write_bytes(b"junk")
    with pytest.raises(trilemma.DataError, match="holds no exported encoder"):
        load_encoder("exported", str(junk))
