"""Suites: every mistake at once, with its line and a suggestion; grids; overrides."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma import SuiteError
from trilemma.harness.api import make_runner, parse_budget
from trilemma.harness.errors import TrilemmaError
from trilemma.harness.planning.resolve import Resolved, resolve
from trilemma.harness.planning.suite import builtin_suites, read_document
from trilemma.harness.planning.toml_lines import line_numbers
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
        (("seeds = 2", "seeds = 0"), "at least one seed"),
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


def test_selection_keeps_a_suites_entries_and_adds_names_that_it_lacks(tmp_path: Path) -> None:
    runner = make_runner("smoke", models=["vp-sde", "kde"], datasets=["moons"], seeds=3, budget="7steps", out=tmp_path)
    assert [m.label for m in runner.resolved.models] == ["vp-sde", "kde"]
    assert [s.label for s in runner.resolved.models[0].samplers] == ["heun(steps=10)"]
    assert [d.label for d in runner.resolved.datasets] == ["moons"]
    assert runner.resolved.suite.seed_list == [0, 1, 2]
    assert runner.resolved.suite.budget.steps == 7


def test_unknown_suite_names_the_built_in_ones() -> None:
    with pytest.raises(SuiteError, match=r"no suite 'quik'.*quick, .*smoke"):
        read_document("quik")


@pytest.mark.parametrize("name", sorted(builtin_suites()))
def test_built_in_suites_are_valid(name: str, registry: Registry) -> None:
    assert resolve(read_document(name), registry).suite.name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10s", {"seconds": 10.0}), ("2.5 s", {"seconds": 2.5}), ("200", {"steps": 200}), ("30 steps", {"steps": 30})],
)
def test_budgets(text: str, expected: dict[str, Any]) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "10h", "1.5steps", "1.2.3s"])
def test_wrong_budgets(text: str) -> None:
    with pytest.raises(TrilemmaError, match="10s"):
        parse_budget(text)


# Line numbers


KEYS = st.text("abcdefgh-_0123456789", min_size=1, max_size=6)
LEAVES = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ab\"\\ #[]{}=,\n'é", max_size=8),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def _dump(value: Any, rng: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        newline = "\n  " if rng else ""
        return "[" + newline + f",{newline} ".join(_dump(v, rng) for v in value) + newline + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {_dump(v, False)}' for k, v in value.items()) + " }"
    return repr(value)


def _paths(value: Any, base: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {base} if base else set()
    for key, inner in items:
        found |= _paths(inner, (*base, key))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3),
    st.booleans(),
)
def test_every_path_of_a_document_has_a_line(
    top: dict[str, Any], tables: list[dict[str, Any]], multiline: bool
) -> None:
    lines = [f'"{key}" = {_dump(value, multiline)} # note = [1]' for key, value in top.items() if key != "tables"]
    for table in tables:
        lines += ["[[tables]]", *(f'"{key}" = {_dump(value, multiline)}' for key, value in table.items())]
    text = "\n".join(lines)
    parsed = tomllib.loads(text)
    found = line_numbers(text)
    assert _paths(parsed) <= set(found)
    for key in top:
        if key != "tables":
            assert text.splitlines()[found[(key,)] - 1].startswith(f'"{key}" =')


def test_lines_of_nested_arrays_and_dotted_keys() -> None:
    text = 'a.b = [[1, 2],\n [3,\n 4]]\n[x.y]\nz = """\n[[no]]\n"""\n[[x.y.list]]\nq = { r = [\n1,\n] }\n'
    lines = line_numbers(text)
    assert lines[("a", "b", 1, 1)] == 3
    assert lines[("x", "y", "z")] == 5
    assert lines[("x", "y", "list", 0, "q", "r", 0)] == 10
    assert ("no",) not in lines
