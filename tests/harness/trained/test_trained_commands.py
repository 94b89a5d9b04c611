"""`trilemma sample` and `trilemma score-points`: the files that they write and read, and what they refuse."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image

import trilemma

Command = Callable[..., Result]


def sampled(command: Command, *arguments: object) -> Result:
    result = command("sample", *arguments)
    assert result.exit_code == 0, result.output
    return result


def test_an_npz_file_holds_the_samples_and_what_they_are_of(finished: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "x.npz"
    result = sampled(command, "gaussian", "-n", 150, "-o", file, "--run", finished, "--json")
    model = trilemma.load_model(finished, "gaussian")
    loaded = np.load(file, allow_pickle=False)
    assert sorted(loaded.files) == ["about", "samples"]
    np.testing.assert_array_equal(loaded["samples"], model.sample(150))
    about = json.loads(loaded["about"].item())
    assert (about["cell"], about["label"], about["sampler"]) == (model.cell, model.label, "direct")
    said = json.loads(result.stdout)
    assert {key: said[key] for key in about} == about
    assert (said["file"], said["n"], said["shape"], said["notes"]) == (str(file), 150, [2], [])
    again = tmp_path / "again.npz"
    sampled(command, "gaussian", "-n", 150, "-o", again, "--run", finished)
    assert again.read_bytes() == file.read_bytes()


def test_a_csv_file_is_read_back_as_the_same_numbers(
    finished: Path, image_run: Path, tmp_path: Path, command: Command
) -> None:
    for run, name in [(finished, "x.csv"), (image_run, "images.csv")]:
        file = tmp_path / name
        sampled(command, "gaussian", "-n", 120, "-o", file, "--run", run)
        x = trilemma.load_model(run, "gaussian").sample(120).reshape(120, -1)
        frame = pd.read_csv(file, dtype=str).astype(float)
        assert list(frame) == [f"x{number}" for number in range(x.shape[1])]
        np.testing.assert_array_equal(frame.to_numpy(), x)


def test_images_are_a_grid_of_their_intensities(image_run: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "x.png"
    result = sampled(command, "vae", "-n", 1000, "-o", file, "--run", image_run)
    assert "400 samples (a picture shows at most 400) of vae on digits, seed 0, direct" in result.stderr
    x = trilemma.load_model(image_run, "vae").sample(400)
    pixels = np.asarray(Image.open(file))
    factor = pixels.shape[1] // (20 * 9 + 1)
    pixels = pixels[factor // 2 :: factor, factor // 2 :: factor]
    for number in (0, 21, 399):
        top, left = 9 * (number // 20) + 1, 9 * (number % 20) + 1
        np.testing.assert_array_equal(pixels[top : top + 8, left : left + 8], np.round(x[number, 0] * (255 / 16)))


def test_points_in_the_plane_are_a_scatter_plot(finished: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "x.png"
    sampled(command, "gaussian", "-n", 500, "-o", file, "--run", finished)
    picture = np.asarray(Image.open(file).convert("RGB")).astype(int)
    colored = np.abs(picture - picture.mean(2, keepdims=True)).max(2) > 30
    assert 500 < colored.sum() < 0.2 * colored.size


def test_a_sampler_setting_and_its_options(image_run: Path, tmp_path: Path, command: Command) -> None:
    model = trilemma.load_model(image_run, "vp-sde")
    for number, (options, setting) in enumerate(
        [
            (["--sampler", "heun(steps=3)"], "heun(steps=3)"),
            (["--set", "steps=3"], "heun(steps=3)"),
            (["--sampler", "heun", "--set", "steps=4"], {"name": "heun", "steps": 4}),
            (["--sampler", "euler", "--set", "steps=2", "--draw", 2], {"name": "euler", "steps": 2}),
        ]
    ):
        file = tmp_path / f"{number}.npz"
        sampled(command, "vp-sde", "-n", 4, "-o", file, "--run", image_run, *options)
        expected = model.sample(4, sampler=setting, draw=2 if "--draw" in options else 0)
        np.testing.assert_array_equal(np.load(file)["samples"], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gaussian", "-o", "x.txt"], "x.txt: the name must end in .npz, .csv, .png"),
        (["gaussian", "-o", "nowhere/x.npz"], "there is no folder nowhere"),
        (["gaussian", "-o", "kept.npz"], "kept.npz exists; choose another name, or replace it with --force"),
        (["gausian", "-o", "x.npz"], "did you mean 'gaussian'?"),
        (["realnvp", "-o", "x.npz"], "'realnvp' means several models"),
        (["gaussian", "-o", "x.npz", "--sampler", "dirct"], "did you mean 'direct'?"),
        (["gaussian", "-o", "x.npz", "--seed", "9"], "there is no seed 9"),
        (["gaussian", "-o", "x.npz", "--set", "steps"], "'steps' is not KEY=VALUE"),
    ],
)
def test_mistakes_end_with_a_message_and_no_file(
    arguments: list[str],
    message: str,
    finished: Path,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept.npz").write_text("mine")
    result = command("sample", *arguments, "--run", finished)
    assert result.exit_code == 2
    assert message in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["kept.npz"]
    assert Path("kept.npz").read_text() == "mine"


def test_an_existing_file_is_replaced_with_force_only_when_the_new_one_is_complete(
    finished: Path, image_run: Path, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "x.npz"
    file.write_text("old")
    sampled(command, "gaussian", "-n", 3, "-o", file, "--run", finished, "--force")
    assert np.load(file)["samples"].shape == (3, 2)
    wide = tmp_path / "wide.npz"
    wide.symlink_to("elsewhere")
    assert command("sample", "gaussian", "-o", wide, "--run", finished).exit_code == 2


def test_a_picture_of_many_dimensions_is_refused(tmp_path: Path, command: Command) -> None:
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(200, 3)))
    trilemma.run(
        {
            "name": "wide",
            "budget": {"steps": 1},
            "datasets": [{"name": "file", "config": {"path": str(tmp_path / "wide.npy")}}],
            "models": [{"name": "gaussian"}],
            "metrics": {"nll": {"n": 20, "mass_points": 0}},
        },
        out=tmp_path / "run",
    )
    result = command("sample", "gaussian", "-o", tmp_path / "x.png", "--run", tmp_path / "run")
    assert result.exit_code == 2
    assert "a picture shows images, or points in one or two dimensions; write .npz or .csv" in result.stderr
    # the run has evaluated no sampler setting
    sampled(command, "gaussian", "-n", 7, "-o", tmp_path / "x.npz", "--run", tmp_path / "run")
    assert np.load(tmp_path / "x.npz")["samples"].shape == (7, 3)


def test_after_ctrl_c_there_is_no_part_of_a_file(plugin_runs: Path, tmp_path: Path, command: Command) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    try:
        for name in ("x.npz", "x.csv"):
            result = command("sample", "stopped", "-n", 10**7, "-o", tmp_path / name, "--run", plugin_runs)
            assert result.exit_code == 130
            assert "interrupted" in result.stderr
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []


def points_file(kind: str, folder: Path, x: np.ndarray) -> Path:
    """Points in a file of one kind."""
    file = folder / f"points.{kind.split('-')[0]}"
    if kind == "npy":
        np.save(file, x)
    elif kind == "npz":
        np.savez(file, points=x, other=np.zeros(3))
    else:
        lines = ["a,b"] * (kind == "csv-named") + [",".join(map(repr, row)) for row in x.tolist()]
        file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "csv-named"])
def test_log_densities_are_those_of_the_points_in_the_file(
    kind: str, finished: Path, tmp_path: Path, command: Command
) -> None:
    x = np.random.default_rng(1).normal(size=(30, 2))
    expected = trilemma.load_model(finished, "gaussian").log_prob(x)
    file = points_file(kind, tmp_path, x)
    result = command("score-points", "gaussian", file, "--run", finished)
    assert result.exit_code == 0, result.output
    header, *lines = result.stdout.splitlines()
    assert header == "log_prob"
    np.testing.assert_array_equal([float(line) for line in lines], expected)
    half = 1.96 * expected.std(ddof=1) / np.sqrt(30)
    assert f"mean log-density {expected.mean():.4f} ± {half:.4f} nats (exact likelihood)" in result.stderr


def test_samples_are_scored_and_the_kind_of_likelihood_is_in_the_file(
    image_run: Path, tmp_path: Path, command: Command
) -> None:
    samples, values = tmp_path / "x.npz", tmp_path / "log_prob.npz"
    sampled(command, "vae", "-n", 5, "-o", samples, "--run", image_run)
    result = command("score-points", "vae", samples, "--run", image_run, "-o", values, "--json")
    assert result.exit_code == 0, result.output
    loaded = np.load(values, allow_pickle=False)
    about = json.loads(loaded["about"].item())
    assert (about["likelihood"], about["unit"], about["n"]) == ("bound", "nats", 5)
    assert about["mean"] == pytest.approx(loaded["log_prob"].mean())
    assert json.loads(result.stdout)["file"] == str(values)
    result = command("score-points", "vae", samples, "--run", image_run, "--json")
    assert json.loads(result.stdout)["log_prob"] == loaded["log_prob"].tolist()


def test_a_model_without_a_likelihood_says_so(plugin_runs: Path, tmp_path: Path, command: Command) -> None:
    result = command("score-points", "stateless", points_file("npy", tmp_path, np.zeros((2, 2))), "--run", plugin_runs)
    assert result.exit_code == 2
    assert "unsupported: model 'stateless' has no likelihood" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "a,b\n", "holds no points"),
        ("x.csv", "a,b\n1,2\n3,x\n", "line 3, column 'b': 'x' is not a number"),
        ("x.csv", "1,2\n3\n", "line 2, column 2: '' is not a number"),
        ("x.csv", "1,2\n3,4,5\n", "cannot be read"),
        ("x.csv", "1,2,3\n", "shape (1, 3); the model has points of the shape (n, 2)"),
        ("x.npz", "no archive", "cannot be read as arrays of numbers"),
        ("x.txt", "1 2", "points are read from .npz, .npy, .csv"),
        (None, "", "there is no file"),
    ],
)
def test_a_file_that_holds_no_points(
    name: str | None, content: str, message: str, finished: Path, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / (name or "nothing.csv")
    if name:
        file.write_text(content)
    result = command("score-points", "gaussian", file, "--run", finished)
    assert result.exit_code == 2
    assert message in result.stderr


def test_pickles_are_never_loaded_and_several_arrays_are_told_apart(
    finished: Path, tmp_path: Path, command: Command
) -> None:
    harm: Any = np.array([print], dtype=object)
    np.save(tmp_path / "x.npy", harm, allow_pickle=True)
    result = command("score-points", "gaussian", tmp_path / "x.npy", "--run", finished)
    assert result.exit_code == 2
    assert "cannot be read as arrays of numbers" in result.stderr
    np.savez(tmp_path / "x.npz", train=np.zeros((2, 2)), test=np.zeros((2, 2)))
    result = command("score-points", "gaussian", tmp_path / "x.npz", "--run", finished)
    assert "has no array named samples, points or x (known: test, train)" in result.stderr


def test_a_density_of_zero_has_no_mean(plugin_runs: Path, tmp_path: Path, command: Command) -> None:
    file = points_file("npy", tmp_path, np.array([[0.0, 0.0], [1e300, 0.0]]))
    result = command("score-points", "kept", file, "--run", plugin_runs, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["mean"] is None
    assert said["log_prob"][1] is None
    assert "mean log-density unbounded (some densities are 0) nats" in result.stderr
