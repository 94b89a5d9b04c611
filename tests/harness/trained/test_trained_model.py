"""A trained model of a run: its samples and log-densities are those of the evaluation, in data space."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import trilemma
from trilemma.harness.store.store import Store


def evaluations(run: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every cell with each of its evaluations at a sampler setting."""
    return [
        (cell, planned)
        for cell in Store(run).run()["cells"]
        for planned in cell["evaluations"]
        if planned["sampler"] and planned["stage"] == "sampling"
    ]


def loaded(run: Path, *arguments: Any, **options: Any) -> trilemma.TrainedModel:
    """A model that is loaded without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return trilemma.load_model(run, *arguments, **options)


def stored_nll(run: Path, cell: str) -> float:
    """The mean negative log-density of a cell, in nats for vectors, in bits/dim for images."""
    frame = trilemma.load_results(run)
    return float(frame.loc[(frame["cell"] == cell) & (frame["metric"] == "nll"), "value"].item())


def points_of_the_test(run: Path, cell: dict[str, Any]) -> np.ndarray:
    """The test points that the run has stored."""
    points = Store(run).data(cell["data_id"])
    assert points is not None
    return points


@pytest.mark.parametrize("which", ["finished", "image_run", "plugin_runs"])
def test_samples_are_those_of_the_evaluation_bit_for_bit(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    assert evaluations(run)
    for cell, planned in evaluations(run):
        stored = Store(run).samples(planned["id"])
        assert stored is not None
        model = loaded(run, cell["id"])
        label = planned["sampler"]["label"]
        for n in (len(stored), 3):
            samples = model.sample(n, sampler=label)
            assert samples.dtype == stored.dtype
            np.testing.assert_array_equal(samples, stored[:n])
        assert not np.array_equal(model.sample(3, sampler=label, draw=1), stored[:3])


@pytest.mark.parametrize("which", ["finished", "image_run", "plugin_runs"])
def test_log_densities_are_those_of_the_evaluation(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    n = 40 if which == "image_run" else 50
    kinds = set()
    for cell in Store(run).run()["cells"]:
        model = loaded(run, cell["id"])
        if model.likelihood == "none":
            continue
        kinds.add(model.likelihood)
        points = points_of_the_test(run, cell)[:n]
        values = model.log_prob(points)
        unit = 64 * np.log(2) if model.levels else 1.0
        assert -values.mean() / unit == pytest.approx(stored_nll(run, cell["id"]), rel=1e-12)
        np.testing.assert_array_equal(model.log_prob(points.reshape(n, -1)), values)
    assert kinds == ({"exact", "bound", "ode"} if which == "image_run" else {"exact"})


def test_the_log_density_is_that_of_the_data_space(finished: Path) -> None:
    model = loaded(finished, "gaussian")
    x = np.random.default_rng(0).normal(size=(20, 2)) * 3
    dataset = trilemma.load_model(finished, "gaussian")._restored.prepared.dataset
    train = dataset.splits.train.double().numpy()
    expected = multivariate_normal(train.mean(0), np.cov(train.T, bias=True)).logpdf(x)
    np.testing.assert_allclose(model.log_prob(x), expected, atol=1e-4)


def test_other_draws_and_more_samples_than_the_evaluation_are_independent_and_repeatable(finished: Path) -> None:
    model = loaded(finished, "gaussian")
    (batch,) = {setting.batch for setting in model.settings.values()}
    parts = list(model.batches(3 * batch + 1))
    assert [len(part) for part in parts] == [batch] * 3 + [1]
    x = model.sample(3 * batch + 1)
    np.testing.assert_array_equal(np.concatenate(parts), x)
    np.testing.assert_array_equal(loaded(finished, "gaussian").sample(3 * batch + 1), x)
    others = model.sample(3 * batch + 1, draw=1)
    rows = {tuple(row) for row in np.concatenate([x, others])}
    assert len(rows) == 2 * (3 * batch + 1)
    # 95 % of draws of 20,000 points have a mean within 2 standard errors; five are allowed here
    many = model.sample(20_000)
    dataset = model._restored.prepared.dataset.splits.train.numpy()
    error = np.abs(many.mean(0) - dataset.mean(0)) / (dataset.std(0) / np.sqrt(len(many)))
    assert (error < 5).all()


def test_sampler_settings_by_label_name_and_options(image_run: Path) -> None:
    model = loaded(image_run, "vp-sde")
    assert model.samplers == ["heun(steps=2)", "heun(steps=3)"]
    np.testing.assert_array_equal(model.sample(2), model.sample(2, sampler="heun(steps=2)"))
    np.testing.assert_array_equal(
        model.sample(2, sampler={"name": "heun", "steps": 3}), model.sample(2, sampler="heun(steps=3)")
    )
    four = model.sample(2, sampler={"name": "heun", "steps": 4})
    assert four.shape == (2, 1, 8, 8)
    assert not np.array_equal(four, model.sample(2, sampler="heun(steps=3)"))
    assert model.sample(2, sampler="euler").shape == four.shape
    for wrong, message in [
        ("hein", "did you mean 'heun'"),
        ("heun", "several settings of the sampler 'heun': heun"),
        ({"name": "heun", "stps": 3}, "no option 'stps' \\(did you mean 'steps'"),
        ({"name": "heun", "steps": 0}, "steps: "),
    ]:
        with pytest.raises(trilemma.TrilemmaError, match=message):
            model.sample(2, sampler=wrong)


@pytest.mark.parametrize(("n", "draw"), [(0, 0), (-1, 0), (5, -1)])
def test_numbers_of_samples_that_make_no_sense_are_refused(n: int, draw: int, finished: Path) -> None:
    with pytest.raises(trilemma.TrilemmaError, match="cannot be drawn"):
        loaded(finished, "gaussian").sample(n, draw=draw)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 5)), r"shape \(3, 5\); the model has points of the shape \(n, 2\)"),
        (np.zeros(2), r"shape \(2,\)"),
        ([[0.0, np.nan], [1.0, 2.0]], "1 of 2 points are not finite, the first in row 0"),
        ([["a", "b"]], "cannot be read as numbers"),
    ],
)
def test_points_of_another_kind_are_refused(points: Any, message: str, finished: Path) -> None:
    with pytest.raises(trilemma.DataError, match=message):
        loaded(finished, "gaussian").log_prob(points)


def test_images_are_intensity_levels(image_run: Path) -> None:
    model = loaded(image_run, "gaussian")
    assert (model.shape, model.levels) == ((1, 8, 8), 17)
    for wrong in (0.5, 17.0, -1.0):
        with pytest.raises(trilemma.DataError, match="row 1 holds intensities that are not whole numbers from 0 to 16"):
            model.log_prob(np.stack([np.zeros((1, 8, 8)), np.full((1, 8, 8), wrong)]))


def test_settings_of_torch_and_standard_output_stay_as_they_were(
    plugin_runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_deterministic_debug_mode()
    model = loaded(plugin_runs, "stateless", seed=1)
    model.sample(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before[1:]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["fitting", "sampling"]
