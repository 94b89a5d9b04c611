"""A plugin that raises what ends processes gets an error in its row, in every phase of a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.store.store import Store

PLUGIN = """
import torch, trilemma

class Base(trilemma.Model):
    "A standard Gaussian."
    likelihood = "exact"
    def fit(self, train, ctx): pass
    def sample(self, n, ctx): return torch.randn(n, *ctx.info.shape, generator=ctx.generator)
    def log_prob(self, x, ctx): return -x.square().sum(1)

class Fits(Base):
    "Ends in fit."
    name = "ends-fit"
    def fit(self, train, ctx): raise SystemExit(0)

class Samples(Base):
    "Ends in sample."
    name = "ends-sample"
    def sample(self, n, ctx): raise KeyboardInterrupt

class Rates(Base):
    "Ends in log_prob."
    name = "ends-log-prob"
    def log_prob(self, x, ctx): raise GeneratorExit("no")

class Speaks(Base):
    "Raises an error with everything that a message must not hold."
    name = "speaks"
    def fit(self, train, ctx): raise ValueError("=1+1 \\x1b[31mred \\u202e \\ud800 /home/ann/secret/x.csv <b>")

class Well(Base):
    "Behaves."
    name = "well-behaved"

class Data(trilemma.Distribution):
    "Ends while it is loaded."
    name = "ends-data"
    def sample(self, n, generator): raise SystemExit(0)
    def log_prob(self, x): return x.sum(1)

class Number(trilemma.Metric):
    "Ends in compute."
    name = "ends-metric"
    quantities = (trilemma.Quantity(name="ends_metric"),)
    def compute(self, evaluation): raise SystemExit(0)

@trilemma.hookimpl
def trilemma_models(): return [Fits, Samples, Rates, Speaks, Well]

@trilemma.hookimpl
def trilemma_datasets(): return [Data]

@trilemma.hookimpl
def trilemma_metrics(): return [Number]

@trilemma.hookimpl
def trilemma_cell_finished(cell):
    print("observed")
    raise SystemExit(0)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, suite: Callable[..., dict[str, Any]]) -> Path:
    """The directory of a run with these plugins."""
    folder = tmp_path_factory.mktemp("endings")
    (folder / "ends.py").write_text(PLUGIN)
    values = suite("ends-fit", "ends-sample", "ends-log-prob", "speaks", "well-behaved")
    values["datasets"].append({"name": "ends-data"})
    values["metrics"]["ends-metric"] = {}
    trilemma.run(values, out=folder / "run", plugins=[folder / "ends.py"], jobs=2)
    return folder / "run"


def rows_of(frame: pd.DataFrame, label: str, dataset: str = "ring8") -> pd.DataFrame:
    return frame[(frame["label"] == label) & (frame["dataset"] == dataset)]


def test_each_ending_is_an_error_with_its_message_and_the_rest_goes_on(ran: Path) -> None:
    frame = trilemma.load_results(ran)
    (fit,) = rows_of(frame, "ends-fit").itertuples()
    assert (fit.outcome, fit.phase, fit.message) == ("error", "fit", "SystemExit: 0")
    record = Store(ran).record("cells", fit.cell)
    assert record is not None
    assert "raise SystemExit(0)" in record["traceback"]
    sampled = rows_of(frame, "ends-sample")
    assert sampled.loc[sampled["metric"] == "nll", "outcome"].tolist() == ["ok"]
    assert "KeyboardInterrupt" in " ".join(sampled.loc[sampled["outcome"] == "error", "message"])
    rated = rows_of(frame, "ends-log-prob")
    assert rated.loc[rated["metric"] == "w2", "outcome"].tolist() == ["ok"]
    assert "GeneratorExit: no" in " ".join(rated.loc[rated["outcome"] == "error", "message"])
    well = rows_of(frame, "well-behaved")
    assert {"nll", "w2"} <= set(well.loc[well["outcome"] == "ok", "metric"])
    assert "SystemExit: 0" in well.loc[well["outcome"] == "error", "message"].tolist()
    lost = frame[frame["dataset"] == "ends-data"]
    assert set(lost["outcome"]) == {"error"}
    assert set(lost["message"]) == {"SystemExit: 0"}


def test_hostile_messages_are_harmless_wherever_they_are_shown(ran: Path, command: Callable[..., Any]) -> None:
    (row,) = rows_of(trilemma.load_results(ran), "speaks").itertuples()
    assert row.message == ("ValueError: =1+1 \\x1b[31mred \\u202e \N{REPLACEMENT CHARACTER} /home/ann/secret/x.csv <b>")
    for form in ("csv", "md", "json"):
        shown = command("results", ran, "--format", form)
        assert shown.exit_code == 0
        assert trilemma.printable(shown.stdout) == shown.stdout


def test_the_report_holds_no_folder_of_the_machine_and_nothing_that_acts(ran: Path) -> None:
    for name in ("report.html", "report.md", "results.csv"):
        text = (ran / name).read_text(encoding="utf-8")
        assert trilemma.printable(text) == text
        assert "speaks" in text
        assert "ends.py" in text, "a plugin that is a file is named by its file"
        for folder in (str(ran.parent), "/home/ann", str(Path.home()) + "/", str(Path(trilemma.__file__).parents[2])):
            assert folder not in text, f"{folder} is in {name}"
    page = (ran / "report.html").read_text(encoding="utf-8")
    assert "x.csv &lt;b&gt;" in page
