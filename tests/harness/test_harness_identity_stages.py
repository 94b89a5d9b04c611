"""What an edit of the source makes run again: identity by stage."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trilemma
from trilemma.harness import identity, source
from trilemma.harness.planning import resolve, sources
from trilemma.harness.planning.cell import data_id, plan
from trilemma.harness.planning.suite import read_document
from trilemma.harness.plugins import Registry

pytestmark = pytest.mark.slow

Keys = list[list[str]]
Identities = tuple[dict[tuple[str, ...], str], dict[tuple[str, ...], str]]

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
    "the settings of torch": ("code", "work"),
    "how a job is handed over": ("code", "CellWorker._train"),
    "the loop": ("code", "train_model"),
    "one score SDE": ("code", "VpOptions.diffusion"),
    "one flow": ("code", "CouplingSpline.make"),
    "one control": ("code", "GaussianMixture.fit"),
    "a network": ("code", "NoiseConditionedMLP.forward"),
    "the density of a dataset": ("code", "Moons.log_prob"),
}


class Trial:
    """The identities of the suite, as they are and as they would be if the source of one module were another.

    What was read of a module is kept, and so is each hash, with the modules that it was made from, until one of these
    is edited; with `everything` nothing is kept.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, everything: bool) -> None:
        self.folder, self.everything = folder, everything
        self.edited: dict[str, Path] = {}
        self.read: dict[str, source.Module | None] = {}
        self.hashes: dict[Any, tuple[str, frozenset[str]]] = {}
        self.asking: set[str] = set()
        patch.setattr(identity, "module", self.module)
        for name in ("training_source", "evaluation_source", "class_source", "members_used"):
            patch.setattr(resolve, name, self.kept(getattr(sources, name)))
        self.registry = Registry(builtin_only=True)
        self.registry.load_everything()
        self.definitions: dict[str, list[tuple[str, Path, Any]]] = {}
        for name, file in modules():
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                self.definitions.setdefault(getattr(node, "name", ""), []).append((name, file, node))
        self.before = self.identities()

    def module(self, name: str) -> source.Module | None:
        """In the place of `source.module`."""
        self.asking.add(name)
        if name not in self.read:
            edited = self.edited.get(name)
            self.read[name] = source.Module(name, edited) if edited else source._module(name)
        return self.read[name]

    def kept(self, function: Callable[..., str]) -> Callable[..., str]:
        """A function that hashes source, which computes a hash again only where its modules were edited."""

        def hashed(*classes: Any) -> str:
            key = (function.__name__, classes)
            if key not in self.hashes:
                sources.forget()
                self.asking.clear()
                self.hashes[key] = function(*classes), frozenset(self.asking)
            return self.hashes[key][0]

        return hashed

    def forget(self, name: str) -> None:
        """Forget what was read of a module and what was made from it."""
        if self.everything:
            self.read.clear()
            self.hashes.clear()
            source.forget()
        self.read.pop(name, None)
        self.hashes = {key: (made, used) for key, (made, used) in self.hashes.items() if name not in used}

    def identities(self) -> Identities:
        """(model, dataset) -> identity of its training; (model, dataset, sampler) -> identity of an evaluation."""
        resolved = resolve.resolve(read_document(SUITE), self.registry)
        cards = {data_id(dataset): {"sha256": dataset.name} for dataset in resolved.datasets}
        cells = plan(resolved, cards, "cpu")
        evaluations = [(cell, planned) for cell in cells for planned in cell.evaluations]
        return {(cell.model.name, cell.dataset.name): cell.id for cell in cells}, {
            (cell.model.name, cell.dataset.name, planned.sampler.name if planned.sampler else ""): planned.id
            for cell, planned in evaluations
        }

    def changes(self, kind: str, name: str) -> tuple[Keys, Keys]:
        """The (model, dataset) that are trained again, and the (model, dataset, sampler) that are evaluated again."""
        home, file, node = self.find(name)
        self.edited[home] = self.folder / "edited.py"
        self.edited[home].write_text(edit(kind, node, file.read_text(encoding="utf-8")), encoding="utf-8")
        self.forget(home)
        after = self.identities()
        del self.edited[home]
        self.forget(home)
        trained, evaluated = (
            sorted(list(key) for key in old if old[key] != new[key])
            for old, new in zip(self.before, after, strict=True)
        )
        return trained, evaluated

    def find(self, name: str) -> tuple[str, Path, Any]:
        """Module, file and node of a class or function, by its name or `Class.method` (any of `a|b`)."""
        top, _, members = name.partition(".")
        for home, file, node in self.definitions[top]:
            for inside in getattr(node, "body", ()) if members else [node]:
                if not members or getattr(inside, "name", None) in members.split("|"):
                    return home, file, inside
        raise LookupError(name)


def modules() -> Iterator[tuple[str, Path]]:
    """Name and file of every module of the rooms."""
    package = Path(trilemma.__file__).parent
    for room in ("datasets", "harness", "plugins", "reports"):
        for file in sorted((package / room).rglob("*.py")):
            yield (
                ".".join(["trilemma", *file.relative_to(package).with_suffix("").parts]).removesuffix(".__init__"),
                file,
            )


def edit(kind: str, node: Any, text: str) -> str:
    """The text of a module with a definition edited."""
    lines = text.splitlines(keepends=True)
    if kind == "comment":
        lines.insert(node.lineno - 1, " " * node.col_offset + "# a remark\n")
    elif kind == "docstring":
        first = node.body[0].lineno - 1
        lines[first] = lines[first].replace('"""', '"""Changed. ', 1)
    else:
        first = node.body[1] if isinstance(node.body[0], ast.Expr) and len(node.body) > 1 else node.body[0]
        lines.insert(first.lineno - 1, " " * first.col_offset + "_ = 'edited'\n")
    return "".join(lines)


@pytest.fixture(scope="module", params=["what was edited", pytest.param("everything", marks=pytest.mark.slow)])
def changed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Keys, Keys]]:
    """Edit -> what it trains again, what it evaluates again; read anew after an edit is as the parameter says."""
    with pytest.MonkeyPatch.context() as patch:
        trial = Trial(patch, tmp_path_factory.mktemp("edited"), everything=request.param == "everything")
        found = {name: trial.changes(*what) for name, what in EDITS.items()}
        assert trial.identities() == trial.before
        return found


def models(keys: list[list[str]]) -> set[str]:
    return {key[0] for key in keys}


ALL = {entry["name"] for entry in SUITE["models"]}  # type: ignore[index]
CONTROLS = {"gmm", "oracle", "langevin"}


@pytest.mark.parametrize("edit", ["a comment", "a docstring"])
def test_a_remark_runs_nothing_again(changed: Any, edit: str) -> None:
    assert changed[edit] == ([], [])


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


@pytest.mark.parametrize(
    "edit",
    ["the seeding", "the seeds of the splits", "data preparation", "the settings of torch", "how a job is handed over"],
)
def test_seeding_and_data_preparation_redo_everything(changed: Any, edit: str) -> None:
    trained, evaluated = changed[edit]
    assert models(trained) == models(evaluated) == ALL
    assert len(trained) == 2 * len(ALL)


def test_the_loop_trains_every_neural_model_again(changed: Any) -> None:
    assert models(changed["the loop"][0]) == ALL - CONTROLS


@pytest.mark.parametrize(
    ("edit", "model"), [("one score SDE", "vp-sde"), ("one flow", "nsf-coupling"), ("one control", "gmm")]
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
