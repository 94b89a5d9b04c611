"""`trilemma check`: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from trilemma.harness.cli import main


def test_the_command_checks_models_datasets_and_metrics() -> None:
    found = CliRunner().invoke(main, ["check", "gaussian", "ring8", "energy"])
    assert found.exit_code == 0, found.output
    for text in ("model gaussian", "dataset ring8", "metric energy", "passed   mass", "passed   entropy", "n = 100"):
        assert text in found.stdout
    assert "failed" not in found.output


def test_a_plugin_file_that_fails_gives_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import torch, trilemma\n"
        "class Bad(trilemma.Model):\n"
        "    name = 'bad'\n"
        "    def fit(self, train, ctx): pass\n"
        "    def sample(self, n, ctx): return torch.randn(n, 2)\n"
        "@trilemma.hookimpl\n"
        "def trilemma_models(): return [Bad]\n"
    )
    found = CliRunner().invoke(main, ["check", "bad", "--plugin", str(file), "--json"])
    assert found.exit_code == 1
    records = {record["check"]: record for record in json.loads(found.stdout)}
    assert records["documented"]["status"] == "failed"
    assert records["samplers"]["status"] == "passed"
    assert "use the given generator instead" in records["sample-deterministic"]["message"]
    plain = CliRunner().invoke(main, ["check", "bad", "--plugin", str(file)])
    assert "has no docstring" in plain.stdout


def test_options_of_the_plugin_can_be_set() -> None:
    found = CliRunner().invoke(main, ["check", "ring8", "--set", "modes=3", "--set", "n_test=500"])
    assert found.exit_code == 0, found.output
    assert "3 modes" in found.stdout
    wrong = CliRunner().invoke(main, ["check", "ring8", "--set", "mode=3"])
    assert wrong.exit_code == 2
    assert "mode" in wrong.output
    assert CliRunner().invoke(main, ["check", "ring8", "--set", "modes"]).exit_code == 2


def test_an_unknown_name_is_suggested() -> None:
    found = CliRunner().invoke(main, ["check", "rign8"])
    assert found.exit_code == 2
    assert "did you mean 'ring8'?" in found.output


def test_a_file_in_place_of_a_name_is_told_what_to_write() -> None:
    result = CliRunner().invoke(main, ["check", "mine.py"])
    assert result.exit_code == 2
    assert "trilemma check NAME --plugin mine.py" in result.output


def test_a_plugin_of_which_nothing_could_be_checked_fails() -> None:
    found = CliRunner().invoke(main, ["check", "file", "--json"])
    records = {record["check"]: record for record in json.loads(found.stdout)}
    assert found.exit_code == 1
    assert records["card"]["status"] == "skipped"
    assert records["checked"]["status"] == "failed"
    assert "no file given: set the dataset's option 'path'" in records["checked"]["message"]


def test_an_error_of_the_plugin_is_shown_with_its_traceback(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        "import torch, trilemma\n"
        "class Wrong(trilemma.Model):\n"
        "    'A model.'\n"
        "    name = 'wrong'\n"
        "    def fit(self, train, ctx): self.mean = train.points.mean(0)\n"
        "    def sample(self, n, ctx): return torch.randn(n, 2)\n"
        "@trilemma.hookimpl\n"
        "def trilemma_models(): return [Wrong]\n"
    )
    found = CliRunner().invoke(main, ["check", "wrong", "--plugin", str(file)])
    assert found.exit_code == 1
    assert f'File "{file}", line 5, in fit' in found.stdout
    assert "1 failed" in found.stderr
    assert "blocked" in found.stderr
