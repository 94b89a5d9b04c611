"""The command line: help, exit codes, data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import trilemma
from trilemma.harness.cli import main

BAD = Path(__file__).parents[1] / "bad_plugins.py"
TINY = """
name = "tiny"
budget = { steps = 5 }
datasets = [{ name = "ring8", config = { n_train = 200, n_valid = 50, n_test = 100 } }]
models = [{ name = "gaussian" }, { name = "realnvp", config = { transforms = [2, 3] } }]
metrics = { nll = { n = 50 }, wasserstein = { n = 50, draws = 2 } }
"""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny suite."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY)
    result = invoke("run", folder / "tiny.toml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder


def commands() -> list[str]:
    return main.list_commands(click.Context(main))


def test_help_answers_without_importing_torch() -> None:
    code = "import sys; from trilemma.harness.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'numpy', 'pandas', 'rich', 'pydantic'} & set(sys.modules); print('HEAVY', sorted(heavy))"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in text
    assert "trilemma run" in text


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_examples(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"trilemma {command}" in result.output


def test_a_misspelt_command_has_a_suggestion() -> None:
    result = invoke("rum")
    assert result.exit_code == 2
    assert "did you mean 'run'" in result.output


def test_a_wrong_suite_exits_2_and_lists_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(TINY.replace("steps = 5", "stops = 5").replace("gaussian", "gausian").replace("draws", "draw"))
    result = invoke("run", file, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stdout == ""
    for expected in ("wrong.toml:3", "wrong.toml:5", "wrong.toml:6", "did you mean 'gaussian'", "did you mean 'draws'"):
        assert expected in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_prints_a_table_and_writes_the_report(finished: Path) -> None:
    result = invoke("run", finished / "tiny.toml", "--out", finished / "run")
    assert result.exit_code == 0
    for expected in ("ring8", "realnvp(transforms=2)", "realnvp(transforms=3)", "gaussian"):
        assert expected in result.stdout
    assert {"report.html", "report.md", "results.csv", "run.json"} <= {
        file.name for file in (finished / "run").iterdir()
    }


def test_json_on_standard_output_is_strict(finished: Path) -> None:
    result = invoke("run", finished / "tiny.toml", "--out", finished / "run", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    record = json.loads(result.stdout, parse_constant=refuse)
    assert record["cells"] == 3
    assert record["outcomes"] == {"ok": 3}
    assert {row["metric"] for row in record["results"]} >= {"nll", "w2"}


def test_dry_run_says_what_and_why_and_leaves_no_trace(tmp_path: Path, finished: Path) -> None:
    result = invoke("run", finished / "tiny.toml", "--out", tmp_path / "none", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.count("train and evaluate: new") == 3
    assert not (tmp_path / "none").exists()
    again = invoke("run", finished / "tiny.toml", "--out", finished / "run", "--dry-run", "--set", "metrics.nll.n=60")
    assert again.stdout.count("evaluate (1): new evaluations") == 3
    plan = json.loads(invoke("run", finished / "tiny.toml", "--dry-run", "--json", "--out", tmp_path / "x").stdout)
    assert [item["train"] for item in plan] == [True] * 3


def test_a_failed_cell_exits_1(tmp_path: Path) -> None:
    result = invoke(
        "run", "smoke", "--models", "well,raises", "--plugin", BAD, "--out", tmp_path, "--set", "metrics={nll={n=50}}"
    )
    assert result.exit_code == 1
    assert "no <b>luck</b> today" in result.stderr
    assert "raises" in result.stdout
    page = (tmp_path / "report.html").read_text()
    assert "no &lt;b&gt;luck&lt;/b&gt; today" in page
    assert "<b>luck" not in page


@pytest.mark.parametrize("form", ["csv", "json", "md"])
def test_results_in_each_format(form: str, finished: Path) -> None:
    result = invoke("results", finished / "run", "--format", form, "--metric", "nll")
    assert result.exit_code == 0
    frame = trilemma.load_results(finished / "run")
    values = frame.loc[frame["metric"] == "nll", "value"]
    assert len(values) == 3
    for value in values:
        assert f"{value:.5g}"[:-1] in result.stdout
    if form == "json":
        assert len(json.loads(result.stdout)) == 3
    if form == "md":
        assert all(line.startswith("| ") for line in result.stdout.strip().splitlines())


def test_results_of_nothing_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    result = invoke("results", tmp_path)
    assert result.exit_code == 2
    assert "holds no run" in result.stderr
    assert f"trilemma run --out {tmp_path}" in result.stderr


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "suites"])
def test_list(kind: str) -> None:
    rows = json.loads(invoke("list", kind, "--json").stdout)
    assert len(rows) >= 2
    assert all(row["name"] and row["description"] for row in rows)
    table = invoke("list", kind).stdout
    assert all(row["name"] in table for row in rows)


def _names() -> list[str]:
    names: list[str] = []
    for kind in ("models", "metrics", "suites"):
        names += [row["name"] for row in json.loads(invoke("list", kind, "--json").stdout)]
    return [*names, "ring8", "digits"]


@pytest.mark.parametrize("name", _names())
def test_info(name: str) -> None:
    record: dict[str, Any] = json.loads(invoke("info", name, "--json").stdout)
    assert record["name"] == name
    for option in record.get("options", []):
        assert option["description"], f"option {option['option']} of {name} is not described"
    text = invoke("info", name)
    assert text.exit_code == 0
    assert name in text.stdout


def test_info_on_nothing_has_a_suggestion() -> None:
    result = invoke("info", "rignvp")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_plugins_lists_what_each_brings() -> None:
    rows = {row["name"]: row for row in json.loads(invoke("plugins", "--json").stdout)}
    assert rows["models"]["distribution"] == "trilemma"
    assert "realnvp" in rows["models"]["provides"]["models"]
    assert rows["reports"]["provides"]["commands"] == ["report"]
    assert invoke("plugins").exit_code == 0


def test_doctor_finds_this_machine_fit() -> None:
    checks = json.loads(invoke("doctor", "--json").stdout)
    assert {row["check"] for row in checks} >= {"python", "disk", "plugins", "cell processes"}
    assert [row for row in checks if not row["ok"]] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_TRILEMMA_COMPLETE" in invoke("completion", shell).stdout


def test_suites_complete() -> None:
    env = {**os.environ, "_TRILEMMA_COMPLETE": "bash_complete", "COMP_WORDS": "trilemma run qu", "COMP_CWORD": "2"}
    code = "from trilemma.harness.cli import main; main(prog_name='trilemma')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert "quick" in result.stdout


def test_no_color_is_obeyed() -> None:
    env = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": ""}
    result = subprocess.run(
        [sys.executable, "-m", "trilemma", "list", "suites"], capture_output=True, env=env, check=True
    )
    assert b"\x1b[3" not in result.stdout
