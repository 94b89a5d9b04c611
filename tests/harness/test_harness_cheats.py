"""Planted cheats end marked: each reason stands in the column `marks` of the results, on the right rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from rich.console import Console

import trilemma
from trilemma.harness.cli.table import print_summary


@pytest.fixture(scope="module")
def cheats(module_of: Callable[[Path], ModuleType]) -> ModuleType:
    """The module `cheats.py`."""
    return module_of(Path(__file__).with_name("cheats.py"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cheats") / "run"


@pytest.fixture(scope="module")
def frame(cheats: ModuleType, path: Path) -> pd.DataFrame:
    return trilemma.run(cheats.suite(), out=path, plugins=[Path(cheats.__file__)], jobs=1)


def marks(frame: pd.DataFrame, label: str) -> dict[str, str]:
    """The marks of a model by metric."""
    rows = frame[(frame["label"] == label) & (frame["marks"].fillna("") != "")]
    return dict(zip(rows["metric"], rows["marks"], strict=True))


def test_every_cheat_is_marked_with_its_reason(cheats: ModuleType, frame: pd.DataFrame) -> None:
    assert set(frame["outcome"]) == {"ok"}
    for label, reason in cheats.CHEATS.items():
        found = marks(frame, label).values()
        assert any(line.startswith(reason) for lines in found for line in lines.split("\n")), (label, found)


def test_marks_stand_on_the_likelihood_or_on_the_sampler_that_they_are_about(frame: pd.DataFrame) -> None:
    assert set(marks(frame, "cheat-rebuild")) == {"copied"}
    assert set(marks(frame, "cheat-cache")) == {"repeated"}
    assert set(marks(frame, "cheat-constant")) == {"nll"}
    assert set(marks(frame, "cheat-elbo")) == {"nll"}
    assert set(marks(frame, "cheat-frozen-elbo")) == {"mass"}
    assert set(marks(frame, "cheat-heavy")) == {"mass"}
    assert set(marks(frame, "cheat-dense")) == {"nll_gap", "mass"}
    marked = frame[frame["marks"].fillna("") != ""]
    likelihood = marked["metric"].isin(["nll", "nll_gap", "mass", "generalization_gap", "train_seconds"])
    assert marked.loc[likelihood, "sampler"].isna().all()
    assert marked.loc[~likelihood, "sampler"].notna().all()


def test_what_does_not_cheat_has_no_mark(frame: pd.DataFrame) -> None:
    assert marks(frame, "honest") == {}


def test_evaluations_past_the_call_of_a_module_count(frame: pd.DataFrame) -> None:
    rows = frame[(frame["label"] == "forward") & (frame["metric"] == "nfe")]
    assert rows["value"].tolist() == [10]
    assert marks(frame, "forward") == {}


def test_no_cheat_is_best_in_what_it_cheats_at_and_every_output_says_why(
    cheats: ModuleType, frame: pd.DataFrame, path: Path
) -> None:
    three = pd.concat([frame.assign(seed=seed) for seed in range(3)], ignore_index=True)
    table = trilemma.summary_rows(three)
    assert not table.loc[table["marked"].map(len) > 0, "best"].any()
    assert not table.loc[table["label"] == "cheat-glutton", "best"].any(), "a training over its budget ranks nowhere"
    samples = table[table["metric"] == "witness_energy"].set_index("label")
    for label in ("cheat-replay", "cheat-rebuild", "cheat-thirty-two", "cheat-cache", "cheat-hidden", "cheat-glutton"):
        assert samples.loc[label, "marked"], label
    assert samples["best"].any()
    said = {verdict["criterion"]: verdict for verdict in trilemma.verdicts(three)}
    marked = {name for verdict in said.values() for name in verdict["marked"]}
    for criterion in ("quality", "likelihood:exact", "cost:nfe"):
        best = {", ".join(filter(None, line.values())) for line in said[criterion]["best"]}
        assert best.isdisjoint(said[criterion]["marked"])
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        print_summary(three, console)
    terminal, report = capture.get(), (path / "report.md").read_text(encoding="utf-8")
    for label, reason in cheats.CHEATS.items():
        assert any(name.startswith(label) for name in marked), label
        for text in (terminal, report):
            lines = [line for line in text.splitlines() if line.startswith(f"! {label}")]
            assert any(reason in line for line in lines), (label, reason)


def test_a_model_that_writes_into_its_inputs_changes_no_number(frame: pd.DataFrame) -> None:
    columns = ["sampler", "metric", "value", "ci_low", "ci_high", "floor"]
    compared = frame[~frame["metric"].isin(["train_seconds", "train_peak_memory", "peak_memory"])]
    honest, in_place = (
        compared.loc[compared["label"] == label, columns].reset_index(drop=True) for label in ("honest", "in-place")
    )
    pd.testing.assert_frame_equal(honest, in_place)
