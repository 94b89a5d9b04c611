"""What an edit of the source makes run again, tried on a copy of the source: identity by stage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")

SUITE = {
    "name": "edits",
    "budget": {"steps": 5},
    "datasets": [{"name": "ring8"}, {"name": "moons"}],
    "models": [
        {"name": name}
        for name in (
            *("vp-sde", "ve-sde", "subvp-sde", "ddpm", "edm", "ncsn", "flow-matching", "score-matching"),
            *("realnvp", "nsf-coupling", "maf", "gan", "ddgan", "cold-morph", "vae", "gmm", "oracle", "langevin"),
        )
    ],
    "metrics": {"nll": {}, "wasserstein": {}, "modes": {}},
}

PROBE = '''
import ast, json, sys
from pathlib import Path
from trilemma.harness import identity, source
from trilemma.harness.planning import cell, resolve, sources, suite
from trilemma.harness.plugins import Registry

root, registry = Path(sys.argv[1]), Registry(builtin_only=True)
asked = json.load(sys.stdin)


def ids():
    """(model, dataset) -> identity of its training; (model, dataset, sampler) -> identity of an evaluation."""
    source.forget()
    sources.forget()
    resolved = resolve.resolve(suite.read_document(asked["suite"]), registry)
    cards = {cell.data_id(dataset): {"sha256": dataset.name} for dataset in resolved.datasets}
    cells = cell.plan(resolved, cards, "cpu")
    trained = {(c.model.name, c.dataset.name): c.id for c in cells}
    evaluated = {(c.model.name, c.dataset.name, e.sampler.name if e.sampler else ""): e.id
                 for c in cells for e in c.evaluations}
    return trained, evaluated


def find(name):
    """The file and the node of a class or function, by its name or `Class.method` (any of `a|b`)."""
    top, _, members = name.partition(".")
    for file in sorted(root.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if getattr(node, "name", None) == top:
                inside = [n for n in getattr(node, "body", []) if getattr(n, "name", None) in members.split("|")]
                if inside or not members:
                    return file, (inside[0] if members else node)
    raise SystemExit(f"no {name}")


def edit(kind, name):
    file, node = find(name)
    lines = file.read_text().splitlines(keepends=True)
    if kind == "comment":
        lines.insert(node.lineno - 1, " " * node.col_offset + "# a remark\\n")
    elif kind == "docstring":
        body = node.body[0]
        lines[body.lineno - 1] = lines[body.lineno - 1].replace('"""', '"""Changed. ', 1)
    else:
        first = node.body[1] if isinstance(node.body[0], ast.Expr) and len(node.body) > 1 else node.body[0]
        lines.insert(first.lineno - 1, " " * first.col_offset + "_ = 'edited'\\n")
    file.write_text("".join(lines))
    return file


found, before = [], ids()
for kind, name in asked["edits"]:
    kept = find(name)[0], find(name)[0].read_text()
    edit(kind, name)
    after = ids()
    kept[0].write_text(kept[1])
    changed = [sorted(list(key) for key in old if old[key] != new[key]) for old, new in zip(before, after)]
    found.append(changed)
assert ids() == before
json.dump(found, sys.stdout)
'''

EDITS = {
    "a comment": ("comment", "EulerMaruyama"),
    "a docstring": ("docstring", "VpSde"),
    "the sampler euler-maruyama": ("code", "EulerMaruyama.draw"),
    "the sampler heun": ("code", "Heun.draw"),
    "a solver of one sampler": ("code", "dpm_solver_2m"),
    "the likelihood by ODE": ("code", "ode_log_prob"),
    "the metric nll": ("code", "Nll.compute"),
    "a metric's helper": ("code", "squared_w2"),
    "the seeding": ("code", "seeded"),
    "the seeds of the splits": ("code", "Prepared.split"),
    "data preparation": ("code", "Space.fit"),
    "the loop": ("code", "train_model"),
    "one score SDE": ("code", "VpSde.build|make_diffusion|loss"),
    "one flow": ("code", "RealNVP.make"),
    "one control": ("code", "GaussianMixture.fit"),
    "a network": ("code", "NoiseConditionedMLP.forward"),
    "the density of a dataset": ("code", "Moons.log_prob"),
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[list[str]], list[list[str]]]]:
    """Edit -> the (model, dataset) that it trains again, the (model, dataset, sampler) that it evaluates again."""
    tree = tmp_path_factory.mktemp("tree")
    for room in ("harness", "plugins", "datasets", "reports", "src"):
        shutil.copytree(ROOT / room, tree / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    asked = json.dumps({"suite": SUITE, "edits": list(EDITS.values())})
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROBE, str(tree)]
    done = subprocess.run(command, input=asked, env=env, capture_output=True, text=True, cwd=tree)
    assert done.returncode == 0, done.stderr
    return dict(zip(EDITS, json.loads(done.stdout), strict=True))


def models(keys: list[list[str]]) -> set[str]:
    return {key[0] for key in keys}


ALL = {entry["name"] for entry in SUITE["models"]}  # type: ignore[index]
CONTROLS = {"gmm", "oracle", "langevin"}


@pytest.mark.parametrize("edit", ["a comment", "a docstring"])
def test_a_remark_runs_nothing_again(changed: Any, edit: str) -> None:
    assert changed[edit] == [[], []]


@pytest.mark.parametrize(
    ("edit", "sampler"),
    [
        ("the sampler euler-maruyama", "euler-maruyama"),
        ("the sampler heun", "heun"),
        ("a solver of one sampler", "dpm-solver++2m"),
    ],
)
def test_a_sampler_is_evaluated_again_where_it_is_used_and_nothing_is_trained(
    changed: Any, edit: str, sampler: str
) -> None:
    trained, evaluated = changed[edit]
    assert trained == []
    assert {"vp-sde", "ve-sde", "subvp-sde"} <= models(evaluated)
    others = {key[2] for key in evaluated} - {sampler}
    assert others <= {"flow-multistep"}  # the same solver over other noise levels


def test_a_likelihood_is_evaluated_again_and_nothing_is_trained(changed: Any) -> None:
    trained, evaluated = changed["the likelihood by ODE"]
    assert trained == []
    assert models(evaluated) == {"vp-sde", "ve-sde", "subvp-sde", "edm", "flow-matching"}


@pytest.mark.parametrize(("edit", "stage"), [("the metric nll", {""}), ("a metric's helper", None)])
def test_a_metric_is_evaluated_again_for_all_models_and_nothing_is_trained(
    changed: Any, edit: str, stage: set[str] | None
) -> None:
    trained, evaluated = changed[edit]
    assert trained == []
    assert models(evaluated) == ALL
    samplers = {key[2] for key in evaluated}
    assert samplers == stage if stage is not None else "" not in samplers


@pytest.mark.parametrize("edit", ["the seeding", "the seeds of the splits", "data preparation"])
def test_seeding_and_data_preparation_redo_everything(changed: Any, edit: str) -> None:
    trained, evaluated = changed[edit]
    assert models(trained) == models(evaluated) == ALL
    assert len(trained) == 2 * len(ALL)


def test_the_loop_trains_every_neural_model_again(changed: Any) -> None:
    assert models(changed["the loop"][0]) == ALL - CONTROLS


@pytest.mark.parametrize(
    ("edit", "model"), [("one score SDE", "vp-sde"), ("one flow", "realnvp"), ("one control", "gmm")]
)
def test_one_model_is_trained_again_and_no_other(changed: Any, edit: str, model: str) -> None:
    trained, evaluated = changed[edit]
    assert models(trained) == models(evaluated) == {model}


def test_a_network_is_trained_again_where_it_is_used(changed: Any) -> None:
    users = models(changed["a network"][0])
    assert {"vp-sde", "ve-sde", "subvp-sde", "ddpm", "edm", "flow-matching", "cold-morph"} <= users
    assert not users & {"realnvp", "maf", "gan", "ddgan", "vae", "score-matching", *CONTROLS}


def test_a_density_of_a_dataset_is_evaluated_again_and_trained_only_where_a_model_is_handed_it(changed: Any) -> None:
    trained, evaluated = changed["the density of a dataset"]
    assert trained == [["langevin", "moons"], ["oracle", "moons"]]
    assert models(evaluated) == ALL
    assert {key[1] for key in evaluated} == {"moons"}
