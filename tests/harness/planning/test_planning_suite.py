"""Suites: every mistake at once, with its line and a suggestion; grids; overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from trilemma import SuiteError
from trilemma.harness.planning.choices import Resolved
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import builtin_suites, read_document
from trilemma.harness.plugins import Registry

GOOD = """
name = "mine"
seeds = 2

[budget]
steps = 100

[[datasets]]
name = "ring8"
config = { n_train = [1000, 2000] }

[[models]]
name = "gaussian"

[[models]]
name = "vp-sde"
samplers = [{ name = "heun", steps = [5, 10] }, { name = "euler-maruyama" }]
recipe = { lr = [1e-3, 2e-3] }

[metrics]
nll = { n = 100 }
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def _resolve(text: str, registry: Registry, tmp_path: Path, *assignments: str) -> Resolved:
    file = tmp_path / "suite.toml"
    file.write_text(text)
    document = read_document(file)
    document.override(assignments)
    return resolve(document, registry)


def test_lists_are_grids(registry: Registry, tmp_path: Path) -> None:
    found = _resolve(GOOD, registry, tmp_path)
    assert [d.label for d in found.datasets] == ["ring8(n_train=1000)", "ring8(n_train=2000)"]
    assert [m.label for m in found.models] == ["gaussian", "vp-sde(lr=0.001)", "vp-sde(lr=0.002)"]
    assert [s.label for s in found.models[1].samplers] == ["heun(steps=5)", "heun(steps=10)", "euler-maruyama"]
    assert found.models[1].recipe is not None
    assert found.models[1].recipe["lr"] == 1e-3
    assert found.suite.seed_list == [0, 1]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", ["tacos", "naive", "prior-alone", "prior-alone(restore=linear)"]),
        (
            'samplers = [{ name = "tacos", steps = 5 }]',
            ["tacos(steps=5)", "prior-alone", "prior-alone(restore=linear)"],
        ),
        ('samplers = [{ name = "prior-alone", restore = "linear" }]', ["prior-alone(restore=linear)", "prior-alone"]),
        ("samplers = []", ["prior-alone", "prior-alone(restore=linear)"]),
    ],
)
def test_some_sampler_settings_are_always_evaluated(
    listed: str, expected: list[str], registry: Registry, tmp_path: Path
) -> None:
    text = GOOD[: GOOD.index("[[models]]")] + f'[[models]]\nname = "cold-fade"\n{listed}\n'
    found = _resolve(text, registry, tmp_path).models[0].samplers
    assert [choice.label for choice in found] == expected
    assert [choice.config["restore"] for choice in found if choice.label == "prior-alone"] == ["none"]


def test_a_model_may_name_its_datasets(registry: Registry) -> None:
    def resolved(*names: str) -> Resolved:
        models = [{"name": "gaussian", "datasets": ["moons", "rings"]}, {"name": "kde"}]
        datasets = [{"name": name} for name in names]
        values = {"name": "x", "budget": {"steps": 1}, "models": models, "datasets": datasets}
        return resolve(read_document(values), registry)

    pairs = {(dataset.name, model.name) for dataset, model in resolved("ring8", "moons").pairs}
    assert pairs == {("ring8", "kde"), ("moons", "gaussian"), ("moons", "kde")}
    assert [model.name for _, model in resolved("ring8").pairs] == ["kde"]
    alone = {"name": "x", "budget": {"steps": 1}, "datasets": [{"name": "ring8"}],
             "models": [{"name": "gaussian", "datasets": ["moons"]}]}  # fmt: skip
    with pytest.raises(SuiteError, match="no model is trained on any dataset"):
        resolve(read_document(alone), registry)


def test_five_mistakes_are_reported_at_once_with_their_lines(registry: Registry, tmp_path: Path) -> None:
    text = (
        GOOD.replace("steps = 100", "stepz = 100")  # line 6
        .replace('"ring8"', '"rng8"')  # line 9
        .replace('name = "gaussian"', 'name = "gaussian"\nconfg = {}')  # line 14
        .replace("steps = [5, 10]", "steps = [5, -1]")  # line 18
        .replace("nll = { n = 100 }", "nll = { m = 100 }")  # line 22
    )
    with pytest.raises(SuiteError) as caught:
        _resolve(text, registry, tmp_path)
    problems = {problem.line: problem for problem in caught.value.problems}
    assert set(problems) >= {6, 9, 14, 18, 22}
    assert "did you mean 'steps'" in problems[6].suggestion
    assert "did you mean 'ring8'" in problems[9].message
    assert "did you mean 'config'" in problems[14].suggestion
    assert "greater than or equal to 1" in problems[18].message
    assert "no such key" in problems[22].message
    assert all(problem.file.endswith("suite.toml") for problem in problems.values())


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('name = "x"\nseeds = \n')
    with pytest.raises(SuiteError, match=r"broken\.toml:2: not valid TOML"):
        read_document(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = 2", "seeds = 0"), "give at least one"),
        (("steps = 100", "steps = 100\nseconds = 3"), "either steps or seconds"),
        (("steps = 100", "steps = 1.5"), "integer"),
        (('name = "vp-sde"', 'name = "vp_sde"'), "did you mean 'vp-sde'"),
        (('name = "heun"', 'name = "hein"'), "did you mean 'heun'"),
        (("lr = [1e-3, 2e-3]", "learning_rate = 1"), "no such key"),
        (
            ('[[models]]\nname = "gaussian"', '[[models]]\nname = "gaussian"\n[[models]]\nname = "gaussian"'),
            "listed twice",
        ),
        (("nll = { n = 100 }", "nnl = {}"), "did you mean 'nll'"),
        (
            ('[[models]]\nname = "gaussian"', '[[models]]\nname = "gaussian"\ndatasets = ["mons"]'),
            "did you mean 'moons'",
        ),
        (('name = "mine"', 'name = "../mine"'), "pattern"),
    ],
)
def test_each_mistake_is_explained(change: tuple[str, str], message: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=message):
        _resolve(GOOD.replace(*change), registry, tmp_path)


def test_set_changes_values_by_path(registry: Registry, tmp_path: Path) -> None:
    found = _resolve(
        *(GOOD, registry, tmp_path),
        *("budget.seconds=5", "models.vp-sde.recipe.lr=0.01", "datasets.0.config.n_train=500"),
        *("name=renamed", "seeds=[3, 5]"),
    )
    assert found.suite.budget.seconds == 5
    assert found.suite.budget.steps is None
    assert [m.label for m in found.models] == ["gaussian", "vp-sde(lr=0.01)"]
    assert found.datasets[0].config["n_train"] == 500
    assert found.suite.name == "renamed"
    assert found.suite.seed_list == [3, 5]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seeds", "expected path=value"),
        ("seeds=[1", "not TOML"),
        ("models.nvp.config.a=1", "no element 'nvp'"),
        ("seeds.x=1", "holds a value"),
        ("budget.steps=many", "--set budget.steps=many"),
    ],
)
def test_wrong_assignments_name_themselves(assignment: str, message: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=message.replace("[", r"\[")):
        _resolve(GOOD, registry, tmp_path, assignment)


def test_unknown_suite_names_the_built_in_ones() -> None:
    with pytest.raises(SuiteError, match=r"no suite 'quik' \(did you mean 'quick'\?"):
        read_document("quik")


@pytest.mark.parametrize("name", sorted(builtin_suites()))
def test_built_in_suites_are_valid(name: str, registry: Registry) -> None:
    assert resolve(read_document(name), registry).suite.name == name


def test_the_limit_of_timing_is_read_and_its_mistakes_are_told(registry: Registry, tmp_path: Path) -> None:
    plain = _resolve(GOOD, registry, tmp_path).suite.timing
    assert (plain.seconds, plain.rounds) == (None, 3)
    text = GOOD.replace("[budget]", "[timing]\nseconds = 7\nrounds = 2\n\n[budget]")
    timing = _resolve(text, registry, tmp_path).suite.timing
    assert (timing.seconds, timing.rounds) == (7, 2)
    wrong = text.replace("seconds = 7", "seconds = 0").replace("rounds", "round")
    with pytest.raises(SuiteError) as error:
        _resolve(wrong, registry, tmp_path)
    told = str(error.value)
    assert "suite.toml:6" in told
    assert "timing.seconds" in told
    assert "suite.toml:7" in told
    assert "did you mean 'rounds'" in told
