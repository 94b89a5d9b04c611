"""`trilemma rerun`: one cell in the foreground, compared with what is stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

import trilemma
from trilemma.harness.store.reruns import reruns, write_rerun
from trilemma.harness.store.store import Store
from trilemma.harness.store.survey import survey

FRAGILE = '''
import torch, trilemma

pytestmark = pytest.mark.usefixtures("unreported")

class Fragile(trilemma.Model):
    """A Gaussian."""
    name = "fragile"
    def fit(self, train, ctx):
        print("fitting", len(train), "points")
        scale = 1.0
        self.mean, self.std = train.x.mean(0), scale * train.x.std(0)
    def sample(self, n, ctx):
        return self.mean + self.std * torch.randn(n, *ctx.info.shape, generator=ctx.generator)
    def state(self):
        return {"mean": self.mean, "std": self.std}
    def load_state(self, state):
        self.mean, self.std = state["mean"], state["std"]

@trilemma.hookimpl
def trilemma_models():
    return [Fragile]
'''


def rerun(*arguments: object, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, because it changes the settings of libraries."""
    command = [sys.executable, "-m", "trilemma", "rerun", *map(str, arguments)]
    paths = [str(Path(trilemma.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd=cwd, env=env)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def realnvp(store: Store) -> str:
    return str(next(cell["id"] for cell in store.run()["cells"] if "transforms=2" in cell["label"]))


@pytest.fixture
def fragile(tmp_path: Path) -> tuple[Path, Path]:
    """A plugin file, and the run directory of its model, in a folder `runs`."""
    plugin, out = tmp_path / "fragile.py", tmp_path / "runs" / "one"
    plugin.write_text(FRAGILE)
    suite = {
        "name": "one",
        "budget": {"steps": 5},
        "datasets": [{"name": "ring8", "config": {"n_train": 100, "n_valid": 50, "n_test": 50}}],
        "models": [{"name": "fragile"}],
        "metrics": {"wasserstein": {"n": 50, "draws": 2}},
    }
    trilemma.run(suite, out=out, plugins=[plugin])
    return plugin, out


def test_a_repeated_cell_is_bit_identical_and_one_record_of_it_is_kept(finished_copy: Path) -> None:
    before, store = content(finished_copy), Store(finished_copy)
    id = realnvp(store)
    result = rerun(id[:8], "--run", finished_copy, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["identical"] is True
    assert found["comparison"]["differences"] == []
    assert found["code"] == []
    assert min(found["comparison"]["counts"].values()) > 0
    after = content(finished_copy)
    assert after.keys() - before.keys() == {f"reruns/{id}.json"}
    assert {name: after[name] for name in before} == before
    assert not [finding for finding in survey(finished_copy).findings if finding.place.startswith("reruns")]
    (kept,) = reruns(store).values()
    assert kept["identical"] is True
    assert datetime.now(UTC) - datetime.fromisoformat(kept["time"]) < timedelta(minutes=5)


@pytest.mark.slow
def test_what_differs_is_named_and_measured(finished_copy: Path) -> None:
    store = Store(finished_copy)
    id = realnvp(store)
    record, weights = store.record("cells", id), store.tensors("cells", id, "model")
    assert record is not None
    assert weights is not None
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 0.5
    zeros = next(name for name in sorted(weights) if (weights[name] == 0).any() and name != min(weights))
    weights[zeros][weights[zeros] == 0] *= -1  # other bits, the same number
    record["curves"]["loss"][0] += 1.0
    store.commit("cells", id, record, {"model": weights})
    planned = next(p for cell in store.run()["cells"] if cell["id"] == id for p in cell["evaluations"] if p["sampler"])
    evaluation = store.record("evaluations", planned["id"])
    assert evaluation is not None
    evaluation["results"][0]["value"] = 123.0
    store.commit("evaluations", planned["id"], evaluation, {"samples": {"samples": torch.zeros(3, 2)}})
    result = rerun(id, "--run", finished_copy)
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert f"different: {name}: 1 of {weights[name].numel()} numbers differ, by up to 0.5" in lines
    assert any(line.startswith(f"different: {zeros}: ") and line.endswith(" by up to 0") for line in lines)
    assert any(line.startswith("different: curve loss: 1 of ") and line.endswith("by up to 1") for line in lines)
    metric = evaluation["results"][0]["metric"]
    assert any(line.startswith(f"different: direct: {metric}: 123.0 before, ") for line in lines)
    assert "different: direct: samples has another shape or type" in lines
    assert len([line for line in lines if line.startswith("different")]) == 5
    assert reruns(store)[id]["identical"] is False


def test_what_was_found_holds_for_the_training_that_is_stored_and_for_whole_records(finished_copy: Path) -> None:
    store = Store(finished_copy)
    ids = [cell["id"] for cell in store.run()["cells"]][:2]
    written = [(store.record("cells", id) or {})["written"] for id in ids]
    for id, training in zip(ids, written, strict=True):
        write_rerun(store, id, training, {"identical": True})
    assert set(reruns(store)) == set(ids)
    file = finished_copy / "reruns" / f"{ids[0]}.json"
    file.write_bytes(file.read_bytes().replace(b"true", b"false"))
    assert set(reruns(store)) == {ids[1]}
    record = store.record("cells", ids[1])
    assert record is not None
    store.commit("cells", ids[1], {key: value for key, value in record.items() if key not in ("files", "written")})
    assert reruns(store) == {}
    with store.locked(), pytest.raises(trilemma.StoreError, match="another run is using"):
        write_rerun(Store(finished_copy), ids[0], written[0], {"identical": True})


@pytest.mark.slow
def test_other_code_is_named_and_output_is_shown(fragile: tuple[Path, Path], tmp_path: Path) -> None:
    plugin, _ = fragile
    same = rerun("fragile on ring8, seed 0", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert "fitting 100 points\n" in same.stdout
    assert "bit-identical: 2 tensors" in same.stdout
    plugin.write_text(FRAGILE.replace("scale = 1.0", "scale = 1.5"))
    other = rerun("fragile on ring8, seed 0", cwd=tmp_path)
    assert other.returncode == 1
    assert "different: std: 2 of 2 numbers differ" in other.stdout
    assert "code: the stored cell was made by other code (training" in other.stdout


@pytest.mark.slow
def test_the_debugger_opens_where_the_error_is(fragile: tuple[Path, Path]) -> None:
    plugin, out = fragile
    plugin.write_text(FRAGILE.replace("scale = 1.0", "scale = 'wide'; answer = 6 * 7"))
    (cell,) = Store(out).run()["cells"]
    result = rerun(cell["id"], "--run", out, "--pdb", stdin="p 'the answer is', answer\nq\n")
    assert "('the answer is', 42)" in result.stdout
    assert result.returncode == 1
    assert "different: training: ok before, error TypeError" in result.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [("nonsense", "has no cell 'nonsense'"), ("realnvp on ring8, seed 0", "names 2 cells"), ("", "has no cell ''")],
)
def test_a_cell_that_is_not_there_or_not_the_only_one_is_refused(name: str, message: str, finished: Path) -> None:
    result = rerun(name, "--run", finished)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_without_runs_there_is_nothing_to_repeat(tmp_path: Path) -> None:
    result = rerun("anything", cwd=tmp_path)
    assert result.returncode == 2
    assert "name one with --run" in result.stderr
