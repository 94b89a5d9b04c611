"""Every metric in one run: values, intervals and floors are in the table of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trilemma
from trilemma.harness.plugins import Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unreported")]

METRICS = list(Registry(builtin_only=True).classes("metrics").values())
SMALL = {"n": 60, "draws": 2, "seconds": 0.05}  # options of metrics
TINY = {
    "name": "tiny",
    "budget": {"steps": 20},
    "datasets": [{"name": "ring8", "config": {"n_train": 500, "n_valid": 200, "n_test": 300}}],
    "models": [
        {"name": "gaussian"},
        {"name": "memorizer"},
        {"name": "vp-sde", "samplers": [{"name": "heun", "steps": 4}]},
    ],
    "metrics": {
        metric.name: {key: value for key, value in SMALL.items() if key in metric.Config.model_fields}
        for metric in METRICS
    },
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder: Path = tmp_path_factory.mktemp("tiny")
    trilemma.run(TINY, out=folder / "run", jobs=1)
    return pd.read_csv(folder / "run" / "results.csv")


def test_floor_and_interval_of_every_comparing_metric_are_in_the_table(table: pd.DataFrame) -> None:
    results = table[table["metric"].notna()]
    cost = {"nfe", "seconds_per_1k", "latency_p50", "latency_p90", "flops_per_sample", "peak_memory"}
    cost |= {"train_seconds", "train_peak_memory", "train_steps", "train_flops", "parameters"}
    comparing = results[~results["metric"].isin(cost)]
    names = set(comparing["metric"])
    assert {"nll", "nll_gap", "w2", "w2_excess", "w1", "sliced_w2", "sinkhorn", "energy", "mmd2", "recall", "coverage",
            "alpha_precision", "beta_recall", "authenticity", "marginal_error", "kde_nll", "score_error",
            "modes_covered", "c2st_auc", "memorized"} <= names  # fmt: skip
    finite = comparing[np.isfinite(comparing["value"])]
    assert len(finite) > 0.9 * len(comparing)
    for column in ("ci_low", "ci_high", "floor", "n"):
        rows = finite[finite["metric"] != "chain_distance"] if column == "ci_low" or column == "ci_high" else finite
        missing = rows.loc[rows[column].isna(), "metric"].unique().tolist()
        assert not missing, f"without {column}: {missing}"
    assert not results.duplicated(["cell", "sampler", "metric", "likelihood"]).any()


def test_what_is_not_defined_is_told_in_the_table(table: pd.DataFrame) -> None:
    unsupported = table[table["outcome"] == "unsupported"]
    told = " ".join(unsupported["message"])
    assert "needs images" in told
    assert "no score" in told
    assert set(table["outcome"]) <= {"ok", "unsupported"}


def test_the_memorizer_is_caught(table: pd.DataFrame) -> None:
    rows = table[table["metric"].notna()].set_index(["label", "metric"]).sort_index()

    def one(label: str, metric: str) -> Any:
        return rows.loc[(label, metric)].squeeze()

    assert one("memorizer", "memorized")["value"] > 0.9
    assert '"memorizes": true' in one("memorizer", "memorized")["details"]
    assert '"memorizes": false' in one("gaussian", "memorized")["details"]
    assert one("memorizer", "authenticity")["value"] < 0.05


@pytest.mark.slow
def test_training_lowers_the_score_error_at_the_data_first(tmp_path: Path) -> None:
    curves, values = {}, {}
    for steps in (30, 2000):
        suite = TINY | {
            "budget": {"steps": steps},
            "datasets": [{"name": "ring8", "config": {"n_train": 20_000}}],
            "models": [{"name": "vp-sde", "samplers": [{"name": "heun", "steps": 4}]}],
            "metrics": {"score_error": {}},
        }
        frame = trilemma.run(suite, out=tmp_path / str(steps), jobs=1).set_index("metric")
        values[steps] = float(frame.loc["score_error", "value"])
        curves[steps] = json.loads(frame.loc["score_error", "details"])
    assert 0 < values[2000] < values[30] / 3
    near, far = (np.array(curves[2000][name]) for name in ("fisher_near", "fisher_far"))
    assert (far > 3 * near)[np.array(curves[2000]["sigma"]) < 0.1].all(), "a learned score is weak far from the data"
