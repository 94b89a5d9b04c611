"""The experiment of Song & Ermon 2019, figure 3: Langevin dynamics from a uniform start, on a mixture of two modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trilemma

pytestmark = pytest.mark.usefixtures("unreported")

UNIFORM = {"name": "langevin", "steps": 1000, "step": 0.003, "start": "uniform"}
SUITE: dict[str, Any] = {
    "name": "two-modes",
    "budget": {"steps": 1},
    "datasets": [{"name": "two-modes", "config": {"n_train": 20_000, "n_valid": 1_000, "n_test": 1_000}}],
}
CHAIN = {"chain_distance": {"n": 300}}


def run(folder: Path, **changes: Any) -> trilemma.RunView:
    """A run of the suite with other models, metrics or budget."""
    trilemma.run({**SUITE, **changes}, out=folder / "run", jobs=1)
    return trilemma.RunView.open(folder / "run")


def share_of_the_lighter(view: trilemma.RunView, label: str, sampler: str) -> float:
    """The share of the stored samples that lie at the mode of weight 1/5, below the other one."""
    frame = view.frame
    found = frame[(frame["label"] == label) & frame["sampler"].fillna("").str.startswith(sampler)]
    points = view.samples(found["evaluation"].iloc[0])
    assert points is not None
    return float((np.asarray(points).sum(1) < 0).mean())


def test_on_the_true_score_the_chain_stops_far_from_the_distribution(tmp_path: Path) -> None:
    view = run(tmp_path, models=[{"name": "langevin", "samplers": [UNIFORM]}], metrics=CHAIN | {"modes": {"n": 1000}})
    assert 0.4 < share_of_the_lighter(view, "langevin", "langevin") < 0.6
    row = view.frame[view.frame["metric"] == "chain_distance"].iloc[0]
    details = json.loads(row["details"])
    assert details["curve"]["x"][-1] == 1000
    assert row["value"] > 10 * row["floor"]
    assert details["mode_mass_kl"][-1] > 0.15
    (section,) = [cls for cls in trilemma.report_sections() if cls.name == "details"]
    page = section().render(view)
    assert page is not None
    assert "langevin(" in page.html
    assert list(page.figures) == [f"details-{number}.png" for number in (1, 2, 3, 4)]


@pytest.mark.slow
def test_on_learned_scores_only_annealing_finds_the_weights(tmp_path: Path) -> None:
    models = [
        {"name": "score-matching", "config": {"objective": "sliced"}, "samplers": [UNIFORM]},
        {"name": "ncsn", "samplers": [{"name": "annealed-langevin", "start": "uniform"}]},
    ]
    metrics = CHAIN | {"modes": {"n": 1000, "draws": 2}, "score_error": {}}
    view = run(tmp_path, models=models, metrics=metrics, budget={"steps": 2000})
    plain = "score-matching(objective=sliced)"
    assert 0.4 < share_of_the_lighter(view, plain, "langevin") < 0.6
    assert 0.15 < share_of_the_lighter(view, "ncsn", "annealed-langevin") < 0.25
    frame = view.frame.set_index(["label", "metric"])["value"]
    assert frame["ncsn", "chain_distance"] < 0.2 * frame[plain, "chain_distance"]
    # The learned score is right near the data, and wrong far from it (figure 2).
    near, far = (frame[plain, f"relative_score_error{end}"] for end in ("", "_far"))
    assert near < 0.05
    assert far > 10 * near
