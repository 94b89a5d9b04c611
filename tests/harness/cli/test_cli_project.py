"""The project file `trilemma.toml`: plugins and defaults that need not be repeated, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

GAUSS = """
import trilemma

class Gauss(trilemma.Model):
    "A Gaussian."
    name = "mine"
    def fit(self, train, ctx): ...
    def sample(self, n, ctx): ...

@trilemma.hookimpl
def trilemma_models():
    return [Gauss]
"""
PLUGINS = '[plugins]\nmine = "mine.py"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a plugin file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(GAUSS)
    return tmp_path


def test_a_plugin_of_the_project_is_loaded_and_the_command_says_so(home: Path, command: Callable[..., Result]) -> None:
    (home / "trilemma.toml").write_text(PLUGINS)
    found = command("info", "mine", "--json")
    assert json.loads(found.stdout)["name"] == "mine"
    assert found.stderr == "trilemma.toml: plugin mine (mine.py)\n"
    assert json.loads(command("info", "mine", "--json", "--plugin", "mine.py").stdout)["name"] == "mine"


def test_defaults_hold_for_a_command_and_give_way_to_what_is_asked(home: Path, command: Callable[..., Result]) -> None:
    suite = 'name = "own"\nbudget = { steps = 1 }\ndatasets = [{ name = "ring8" }]\nmodels = [{ name = "gaussian" }]\n'
    (home / "own.toml").write_text(suite)
    (home / "trilemma.toml").write_text(
        PLUGINS + '[defaults.run]\nsuite = "own.toml"\nmodels = "mine,gaussian"\nseeds = 2\njobs = 1\ndry-run = true\n'
    )
    found = command("run", "--json")
    assert "seeds = 2" in found.stderr
    assert [cell["label"] for cell in json.loads(found.stdout)] == [
        f"{model} on ring8, seed {seed}" for model in ("mine", "gaussian") for seed in (0, 1)
    ]
    less = json.loads(command("run", "--json", "--seeds", "1", "--models", "gaussian").stdout)
    assert [cell["label"] for cell in less] == ["gaussian on ring8, seed 0"]
    assert command("list", "suites").exit_code == 0


def test_only_the_working_directory_itself_counts(
    home: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "trilemma.toml").write_text(PLUGINS)
    (home / "below").mkdir()
    monkeypatch.chdir(home / "below")
    found = command("info", "mine")
    assert found.exit_code == 2
    assert "trilemma.toml" not in found.output


def test_a_file_that_others_may_write_is_refused(home: Path, command: Callable[..., Result]) -> None:
    (home / "trilemma.toml").write_text(PLUGINS)
    (home / "trilemma.toml").chmod(0o666)
    found = command("info", "mine")
    assert found.exit_code == 2
    assert "everybody may write it" in found.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[plugin]\nmine = "mine.py"',
            "trilemma.toml:1: plugin: there is no such table in a project file (did you mean 'plugins'?)",
        ),
        ('[plugins]\n\nmine = "mien.py"', "trilemma.toml:3: plugins.mine: the plugin file "),
        ('[plugins]\nmine = "no_such_module"', "trilemma.toml:2: plugins.mine: there is no module 'no_such_module'"),
        ("[plugins]\nmine = 3", "trilemma.toml:2: plugins.mine: expected a file or a module, as text"),
        (
            "[defaults]\nruns = { jobs = 1 }",
            "trilemma.toml:2: defaults.runs: there is no such command (did you mean 'run'?)",
        ),
        (
            "[defaults.info]\njsn = true",
            "trilemma.toml:2: defaults.info.jsn: `trilemma info` has no option 'jsn' (did you mean 'json'?)",
        ),
        ("[defaults.info", "trilemma.toml: not valid TOML"),
        ("plugins = 3", "trilemma.toml:1: plugins: this is no table"),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, said: str, home: Path, command: Callable[..., Result]) -> None:
    (home / "trilemma.toml").write_text(text)
    found = command("info", "gaussian")
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_module_is_loaded_by_its_name(
    home: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "site" / "their_package").mkdir(parents=True)
    (home / "site" / "their_package" / "models.py").write_text(GAUSS)
    monkeypatch.syspath_prepend(home / "site")
    found = command("info", "mine", "--plugin", "their_package.models", "--json")
    assert json.loads(found.stdout)["plugin"] == "their_package.models unpackaged"
    wrong = command("info", "mine", "--plugin", "their_package.model")
    assert wrong.exit_code == 2
    assert "there is no module 'their_package.model'" in wrong.stderr
