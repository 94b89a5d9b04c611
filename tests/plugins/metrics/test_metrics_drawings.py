"""The drawings that metrics give with their numbers show what they say."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest
import torch

from trilemma.plugins.metrics.chain import chain_pictures
from trilemma.plugins.metrics.drawings.histograms import histogram, shares, span
from trilemma.plugins.metrics.drawings.images import BYTES, affordable, evenly, frames, images
from trilemma.plugins.metrics.likelihood.nll import Nll
from trilemma.plugins.metrics.memorization import Memorization
from trilemma.plugins.metrics.modes import ModeCoverage
from trilemma.plugins.metrics.score_error import ScoreError

LONGEST = 600
"""The longest text of a drawing that a report shows."""


def pixels(drawing: dict[str, Any]) -> np.ndarray:
    """The images of a drawing, `(rows, columns, height, width, channels)`, from 0 to 255."""
    content = base64.urlsafe_b64decode(drawing["pixels"])
    return np.frombuffer(content, np.uint8).reshape(len(drawing["rows"]), len(drawing["columns"]), *drawing["shape"])


def test_shares_are_those_of_all_values_and_the_outer_bins_hold_what_is_outside() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5_000)
    edges = np.linspace(-1, 1, 11)
    found = np.array(shares(values, edges))
    inside = np.histogram(values, edges)[0] / len(values)
    np.testing.assert_allclose(found[1:-1], inside[1:-1], rtol=1e-3)
    assert found.sum() == pytest.approx(1, abs=1e-3)
    assert found[0] == pytest.approx((values < edges[1]).mean(), rel=1e-3)
    assert sum(shares(np.array([math.nan, math.inf, -math.inf, 0.0]), edges)) == 0.75
    assert span(np.array([3.0, 3.0])).tolist()[0] < 3 < span(np.array([3.0, 3.0])).tolist()[-1]
    drawn = histogram({"a": values}, edges, title="t", x_title="x", reading="r")
    assert drawn["edges"] == pytest.approx(edges.tolist(), abs=1e-3)


def test_the_histogram_of_the_nll_has_the_mean_of_the_nll(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Normal())
    result = known.results(Nll(Nll.Config(mass_points=0, side=0)), evaluation)["nll"]
    drawing = result.details["histogram"]
    middles = (np.array(drawing["edges"])[1:] + np.array(drawing["edges"])[:-1]) / 2
    test, train, true = (np.array(series["shares"]) for series in drawing["series"])
    assert (middles * test).sum() == pytest.approx(result.value, abs=0.1)
    assert (middles * true).sum() == pytest.approx(result.floor, abs=0.1)
    np.testing.assert_allclose(test, true, atol=0.05)
    assert np.abs(train - test).sum() < 0.3
    assert "map" not in result.details
    assert len(drawing["reading"]) < LONGEST


def test_the_map_of_a_density_is_the_density_over_its_true_peak(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(known.Gauss.Config(scale=0.5)), known.Normal())
    drawing = known.results(Nll(Nll.Config(mass_points=0, side=9)), evaluation)["nll"].details["map"]
    train = evaluation.dataset.splits.train.double()
    model = torch.distributions.Normal(train.mean(0), 0.5 * train.std(0))
    true = torch.distributions.Normal(1.0, 2.0)
    grid = torch.tensor([[(x, y) for x in drawing["x"]] for y in drawing["y"]], dtype=torch.float64)
    peak = true.log_prob(grid).sum(-1).max()
    expected = (model.log_prob(grid).sum(-1) - peak).exp().numpy()
    np.testing.assert_allclose(np.array(drawing["values"])[expected > 1e-3], expected[expected > 1e-3], rtol=0.02)
    np.testing.assert_allclose(drawing["log_density"], (true.log_prob(grid).sum(-1) - peak).numpy(), atol=0.06)


def test_a_density_without_a_truth_is_drawn_without_lines(known: Any) -> None:
    evaluation = known.evaluate(known.Gauss(), known.Table())
    drawing = known.results(Nll(Nll.Config(n=100, mass_points=0, side=6)), evaluation)["nll"].details["map"]
    assert "log_density" not in drawing
    assert np.shape(drawing["values"]) == (6, 6)
    assert "densest test points" in drawing["reading"]


def test_the_arrows_of_an_exact_score_are_those_of_the_true_score(known: Any) -> None:
    def field(error: float) -> dict[str, Any]:
        config = ScoreError.Config(n=2, levels=2)
        evaluation = known.replay(known.Normals(), error=error, knows=True)
        found: dict[str, Any] = known.results(ScoreError(config), evaluation)["relative_score_error"].details["field"]
        return found

    learned, true = field(0.0)["arrows"]
    np.testing.assert_allclose(learned["u"], true["u"], atol=2e-3)
    np.testing.assert_allclose(learned["v"], true["v"], atol=2e-3)
    assert 0.3 < np.hypot(true["u"], true["v"]).mean() < 1
    wrong, same = field(5.0)["arrows"]
    assert same == true
    assert np.mean(np.array(wrong["u"]) > np.array(true["u"])) > 0.99


def test_the_masses_and_radii_of_modes_are_those_of_the_samples(known: Any) -> None:
    metric = ModeCoverage(ModeCoverage.Config(n=400, draws=3))
    found = known.results(metric, known.replay(known.Mixture(), cut=0.0))  # without the mode on the left
    samples, true = (series["shares"] for series in found["mode_mass_kl"].details["histogram"]["series"])
    assert true == known.WEIGHTS.tolist()
    assert samples[0] < 0.01
    assert samples[1] + samples[2] == pytest.approx(1, abs=0.02)
    radii, usual = (np.array(series["shares"]) for series in found["radius_ks"].details["histogram"]["series"])
    assert radii.sum() == pytest.approx(1, abs=0.01)
    assert np.abs(np.cumsum(radii) - np.cumsum(usual)).max() == pytest.approx(found["radius_ks"].value, abs=0.05)
    assert "histogram" not in found["modes_covered"].details


def test_copies_of_training_points_are_a_bar_at_zero(known: Any) -> None:
    config = Memorization.Config(n=200, draws=2)
    copies, real = (
        series["shares"]
        for series in known.results(Memorization(config), known.replay(known.Table()))["memorized"].details[
            "histogram"
        ]["series"]
    )
    assert copies[0] == 1
    assert real[0] < 0.2


def test_samples_are_shown_above_their_nearest_training_images(known: Any) -> None:
    dataset = known.Images()
    evaluation = known.replay(dataset)
    blurred = 0.7 * evaluation.model.x + 0.3 * evaluation.model.x.roll(1, 0)
    evaluation.model.x = torch.cat([blurred, evaluation.model.x[:20]])
    config = Memorization.Config(n=100, draws=2)
    drawing = known.results(Memorization(config), evaluation)["memorized"].details["images"]
    shown = pixels(drawing)
    assert shown.shape == (2, 12, 4, 4, 1)
    assert drawing["columns"][:6] == [f"sample {i}" for i in range(1, 7)]
    points = np.concatenate([evaluation.generate(100, draw) for draw in range(2)])
    train = evaluation.points("train")
    for column, name in enumerate(drawing["columns"]):
        sample = points[int(name.split()[1]) - 1]
        closest = train[np.linalg.norm(train - sample, axis=1).argmin()]
        np.testing.assert_allclose(shown[0, column].ravel() / 255, np.clip(sample, 0, 1), atol=0.003)
        np.testing.assert_allclose(shown[1, column].ravel() / 255, closest, atol=0.003)
    assert np.array_equal(shown[0, 6], shown[1, 6]), "the copies are found"
    assert len(drawing["reading"]) < LONGEST


def test_large_images_are_shown_fewer_at_a_time() -> None:
    assert affordable((1, 8, 8), 2, 12) == 12
    assert affordable((3, 64, 64), 2, 12) == 2
    assert affordable((3, 256, 256), 2, 12) == 0
    drawing = images(np.zeros((2, 2, 3 * 64 * 64)), (3, 64, 64), ("a", "b"), ("c", "d"), title="", reading="")
    assert drawing["shape"] == [64, 64, 3]
    assert len(pixels(drawing).tobytes()) <= BYTES


def test_images_of_several_channels_keep_their_colors() -> None:
    red = np.zeros((1, 1, 3, 2, 2))
    red[:, :, 0] = 1.5
    shown = pixels(images(red.reshape(1, 1, -1), (3, 2, 2), ("a",), ("b",), title="", reading=""))
    assert shown[0, 0].tolist() == [[[255, 0, 0]] * 2] * 2


def test_frames_are_spread_evenly_over_the_steps_with_the_first_and_the_last() -> None:
    steps = [0, 1, 2, 3, 5, 7, 10, 14, 19, 26, 36, 49, 67, 91, 100]
    assert [steps[place] for place in evenly(steps, 6)] == [0, 19, 36, 67, 91, 100]
    assert evenly([0, 1]) == [0, 1]
    chain = [(step, np.full((300, 4), float(step))) for step in steps]
    drawing = frames(chain, title="t", reading="r")
    assert drawing["steps"][0] == 0
    assert drawing["steps"][-1] == 100
    assert [points[0] for points in drawing["points"]] == [[float(step)] * 2 for step in drawing["steps"]]
    assert len(drawing["points"][0]) == 150


def test_chains_of_images_are_rows_of_one_sample_each() -> None:
    chain = [(step, np.arange(10)[:, None] / 20 + np.full((10, 4), step / 10)) for step in (0, 1, 2)]
    found = chain_pictures(chain, (1, 2, 2), image=True)["images"]
    assert isinstance(found, dict)
    assert found["columns"] == ["start", "step 1", "step 2"]
    shown = pixels(found)[..., 0, 0, 0] / 255
    np.testing.assert_allclose(shown, np.arange(3)[:, None] / 20 + np.arange(3) / 10, atol=0.003)
    assert chain_pictures(chain, (1,), image=False) == {}
    assert isinstance(chain_pictures(chain, (4,), image=False)["frames"], dict)
    assert chain_pictures(chain, (3, 400, 400), image=True) == {}
