"""Grids of likelihood options: several likelihoods of one training, of which the first ranks the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import trilemma
from trilemma.harness.planning.cell import Cell, data_id, plan
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry
from trilemma.reports.write import write_report

pytestmark = pytest.mark.usefixtures("unreported")

SUITE: dict[str, Any] = {
    "name": "grid",
    "budget": {"steps": 5},
    "datasets": [{"name": "ring8", "config": {"n_train": 300, "n_valid": 100, "n_test": 100}}],
    "metrics": {"nll": {"n": 50}, "training_cost": {}, "wasserstein": {"n": 50, "draws": 2}},
}

Options = dict[str, Any] | list[dict[str, Any]]


def suite(likelihood: Options, **changes: Any) -> dict[str, Any]:
    """A suite with one model, whose likelihood has these options."""
    model = {
        "name": "vp-sde",
        "config": {"hidden": [8]},
        "samplers": [{"name": "heun", "steps": 3}],
        "likelihood": likelihood,
    }
    return {**SUITE, "models": [model], **changes}


def cells(likelihood: Options) -> list[Cell]:
    found = resolve(read_document(suite(likelihood)), Registry(builtin_only=True))
    return plan(found, {data_id(dataset): {"sha256": "a"} for dataset in found.datasets}, "cpu")


def evaluated(likelihood: Options) -> list[tuple[str, list[str]]]:
    (cell,) = cells(likelihood)
    return [(planned.label, [metric.name for metric in planned.metrics]) for planned in cell.evaluated]


def test_every_setting_is_an_evaluation_of_one_training() -> None:
    assert evaluated({"steps": 4}) == [("likelihood", ["nll", "training_cost"]), ("heun(steps=3)", ["wasserstein"])]
    assert evaluated({"steps": [4, 9]}) == [
        ("likelihood(steps=4)", ["nll", "training_cost"]),
        ("likelihood(steps=9)", ["nll"]),
        ("heun(steps=3)", ["wasserstein"]),
    ]
    assert len(evaluated({"steps": [4, 9, 4], "bound_draws": [1, 2]})) == 2 * 2 + 1


def test_a_list_of_tables_has_the_grids_of_each() -> None:
    settings: list[dict[str, Any]] = [{"steps": 4}, {"divergence": "hutchinson", "probes": [1, 2]}, {"steps": 4}]
    assert [name for name, _ in evaluated(settings)[:-1]] == [
        "likelihood(steps=4)",
        "likelihood(divergence=hutchinson, probes=1)",
        "likelihood(divergence=hutchinson, probes=2)",
    ]
    with pytest.raises(trilemma.TrilemmaError, match="stepz"):
        cells([{"steps": 4}, {"stepz": 4}])


def test_a_grid_changes_no_identity_of_what_was_there() -> None:
    (alone,), (grid,) = cells({"steps": 4}), cells({"steps": [4, 9]})
    assert alone.id == grid.id
    ids = [planned.id for planned in grid.evaluations]
    assert [planned.id for planned in alone.evaluations] == [ids[0], *ids[2:]]
    assert len(set(ids)) == len(ids)


def test_mistakes_in_a_grid_are_told_and_equal_settings_are_one() -> None:
    with pytest.raises(trilemma.SuiteError, match="greater than or equal to 1"):
        cells({"steps": [4, 0]})
    assert evaluated({"steps": [4, 4.0]}) == evaluated({"steps": 4})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run without a grid, then with one."""
    out: Path = tmp_path_factory.mktemp("grid") / "run"
    for steps in (4, [4, 9]):
        trilemma.run(suite({"steps": steps}, seeds=3), out=out, jobs=1)
    return out


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    """The results of the run."""
    return trilemma.load_results(run)


def test_lines_of_results_are_told_apart_by_their_settings(frame: pd.DataFrame) -> None:
    nll = frame[frame["metric"] == "nll"]
    assert sorted(nll["sampler"].unique()) == ["likelihood(steps=4)", "likelihood(steps=9)"]
    assert len(nll) == 6
    assert nll.groupby("sampler")["value"].mean().nunique() == 2
    costs = frame[frame["metric"] == "train_steps"]
    assert len(costs) == 3
    assert costs["sampler"].isna().all()
    assert (costs["value"] == 5).all()


def test_only_the_first_setting_ranks_the_model(frame: pd.DataFrame) -> None:
    nll = frame[frame["metric"] == "nll_gap"]
    assert nll.groupby("sampler")["ranks"].all().to_dict() == {
        "likelihood(steps=4)": True,
        "likelihood(steps=9)": False,
    }
    worse = frame.assign(marks="")
    chosen = (worse["metric"] == "nll_gap") & (worse["sampler"] == "likelihood(steps=4)")
    worse.loc[chosen, ["value", "ci_low", "ci_high"]] += 1.0  # the first is far behind the second, and still stands
    table = trilemma.summary_rows(worse)
    rows = table[table["metric"] == "nll_gap"].set_index("sampler")
    assert rows["best"].to_dict() == {"likelihood(steps=4)": True, "likelihood(steps=9)": False}


@pytest.mark.usefixtures("undrawn")
def test_the_report_shows_a_line_for_each_setting(run: Path, tmp_path: Path) -> None:
    write_report(trilemma.RunView.open(run), trilemma.report_sections(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    text = (tmp_path / "report.md").read_text()
    for line in ("likelihood(steps=4)", "likelihood(steps=9)", "heun(steps=3)", "training"):
        assert line in text
        assert line in page.replace("<wbr>", "")


@pytest.mark.slow
def test_after_several_runs_still_one_setting_ranks_the_model(tmp_path: Path) -> None:
    for steps in ([2, 4], 8, [5, 6]):
        found = trilemma.run(suite({"steps": steps}), out=tmp_path / "run", jobs=1)
        ranking = found[(found["metric"] == "nll_gap") & found["ranks"].astype(bool)]
        first = steps[0] if isinstance(steps, list) else steps
        last = ranking["sampler"].dropna().tolist()
        assert len(ranking) == 1
        assert last == ([f"likelihood(steps={first})"] if isinstance(steps, list) else [])
