"""`trilemma run --data`: from a stranger's file to a report that is named after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

import trilemma

Command = Callable[..., Result]
SUITE = """
name = "quick"
budget = { steps = 5 }
datasets = [{ name = "ring8" }]
models = [{ name = "gaussian" }, { name = "memorizer" }]

[metrics]
nll = { n = 20 }
wasserstein = { n = 20, draws = 2 }
kde_nll = { n = 20, draws = 2 }
witness_energy = {}
"""
VALUES = np.random.RandomState(0).standard_normal((150, 3)).round(4)
UNITS = np.array([1.0, 1000.0, 0.1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, and with one table in two systems of units."""
    home = tmp_path_factory.mktemp("own data")
    (home / "suite.toml").write_text(SUITE)
    for name, units in (("wine", np.ones(3)), ("wine in other units", UNITS)):
        frame = pd.DataFrame(VALUES * units, columns=["alcohol", "ash", "hue"]).assign(kind=["red", "white"] * 75)
        frame.iloc[3, 1] = np.nan
        frame.to_csv(home / f"{name}.csv", sep=";", decimal=",")
    return home


@pytest.fixture(scope="module")
def ran(home: Path, command: Command) -> Result:
    """The end of a run on both tables."""
    files = ("--data", home / "wine.csv", "--data", home / "wine in other units.csv")
    return command("run", home / "suite.toml", *files, "--out", home / "out")


def test_the_run_names_what_it_left_out(ran: Result) -> None:
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.stderr.split())
    assert "wine: 149 rows and 3 columns are used" in said
    assert "'Unnamed: 0' (it counts the rows); 'kind' (text with 2 different values such as" in said
    assert "wine: 1 of 150 rows left out, because values are missing" in said


def test_the_report_is_named_after_the_data_and_says_its_units(ran: Result, home: Path) -> None:
    page = (home / "out" / "report.html").read_text()
    assert "<title>wine-wine-in-other-units</title>" in page
    assert "wine.csv" in page
    assert "in units of its standard deviation" in page
    assert "std. dev." in page
    assert str(home) not in page


def test_distances_do_not_depend_on_the_units_and_likelihoods_do(ran: Result, home: Path) -> None:
    frame = trilemma.load_results(home / "out")
    values = frame.pivot_table(index=["label", "metric"], columns="dataset_id", values="value")
    assert set(values.columns) == {"wine", "wine in other units"}
    one, other = values["wine"], values["wine in other units"]
    assert len(one.xs("w2", level="metric")) == 2
    for metric in ("w2", "w2_excess", "witness_energy"):
        pd.testing.assert_series_equal(
            one.xs(metric, level="metric"), other.xs(metric, level="metric"), rtol=1e-3, atol=1e-3, check_names=False
        )
    volume = float(np.log(UNITS).sum())
    for metric in ("nll", "kde_nll"):
        gap = (other - one).xs(metric, level="metric").dropna()
        assert len(gap)
        np.testing.assert_allclose(gap, volume, atol=0.05)
    assert set(frame.loc[frame["metric"] == "w2", "unit"]) == {"std. dev."}


def test_samples_stay_in_the_units_of_the_data(ran: Result, home: Path) -> None:
    model = trilemma.load_model(home / "out", "gaussian", dataset="wine in other units")
    deviations = np.asarray(model.sample(500)).std(0)
    np.testing.assert_allclose(deviations / (VALUES.std(0) * UNITS), 1, atol=0.25)


def test_samples_have_the_columns_of_the_table(ran: Result, home: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "samples.csv"
    result = command("sample", "gaussian", "--dataset", "wine", "-n", 20, "-o", file, "--run", home / "out")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(file)
    assert list(frame) == ["alcohol", "ash", "hue"]
    assert len(frame) == 20


def test_a_file_of_the_same_name_needs_another_directory(ran: Result, home: Path, command: Command) -> None:
    (home / "old").mkdir(exist_ok=True)
    (home / "old" / "wine.csv").write_text((home / "wine.csv").read_text())
    result = command("run", home / "suite.toml", "--data", home / "old" / "wine.csv", "--out", home / "out")
    assert result.exit_code == 2
    assert "which tables there call 'wine'" in result.stderr
    assert "choose another directory with --out" in result.stderr


def test_data_that_cannot_be_read_ends_the_command_before_anything_runs(
    tmp_path: Path, home: Path, command: Command
) -> None:
    (tmp_path / "words.csv").write_text("a,b\n" + "x,y\n" * 99)
    result = command("run", home / "suite.toml", "--data", tmp_path / "words.csv", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "words.csv: no column can be used. columns left out: 'a' (text with 1 different values" in result.stderr
    assert not (tmp_path / "out" / "run.json").exists()
