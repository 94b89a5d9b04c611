"""What is there: `trilemma list`, `info`, `plugins`, `doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from trilemma.harness.planning.suite import builtin_suites
from trilemma.harness.plugins import Registry
from trilemma.plugins import builtin

Command = Callable[..., Result]


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics", "suites"])
def test_list(kind: str, command: Command) -> None:
    rows = json.loads(command("list", kind, "--json").stdout)
    assert len(rows) >= 2
    assert all(row["name"] and row["description"] for row in rows)
    table = command("list", kind).stdout
    assert all(row["name"] in table for row in rows)


def names() -> list[str]:
    """Every model, metric and suite, and two datasets."""
    registry = Registry(builtin_only=True)
    return [*registry.classes("models"), *registry.classes("metrics"), *builtin_suites(), "ring8", "digits"]


@pytest.mark.parametrize("name", names())
def test_info(name: str, command: Command) -> None:
    record: dict[str, Any] = json.loads(command("info", name, "--json").stdout)
    assert record["name"] == name
    for option in record.get("options", []):
        assert option["description"], f"option {option['option']} of {name} is not described"
    text = command("info", name)
    assert text.exit_code == 0
    assert name in text.stdout


def test_info_on_nothing_has_a_suggestion(command: Command) -> None:
    result = command("info", "rignvp")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_info_on_a_number_describes_its_metric(command: Command) -> None:
    record = json.loads(command("info", "w2_excess", "--json").stdout)
    assert (record["kind"], record["name"]) == ("metric", "wasserstein")


def test_plugins_lists_what_each_brings(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("plugins", "--json").stdout)}
    assert rows["models"]["distribution"] == "trilemma"
    assert "realnvp" in rows["models"]["provides"]["models"]
    assert rows["reports"]["provides"]["commands"] == ["export", "report", "site"]
    assert command("plugins").exit_code == 0


def test_doctor_finds_this_machine_fit(command: Command) -> None:
    checks = json.loads(command("doctor", "--json").stdout)
    assert {row["check"] for row in checks} >= {"python", "disk", "plugins", "cell processes"}
    assert [row for row in checks if not row["ok"]] == []


def test_the_long_list_has_the_traits(command: Command) -> None:
    assert "annealed-langevin" in command("list", "models", "--long").stdout
    assert "annealed-langevin" not in command("list", "models").stdout


LOADED = """
import sys
from pathlib import Path
from trilemma.harness.cli import main
main(sys.argv[1:], standalone_mode=False)
print(*sys.modules)
"""


@pytest.mark.parametrize("command", ["info", pytest.param("check", marks=pytest.mark.slow)])
def test_a_command_about_one_model_imports_no_module_of_another(command: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", LOADED, command, "realnvp"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}  # in which nothing is remembered
    run = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "trilemma.plugins.flows.realnvp" in loaded
    places = [f"trilemma.plugins{reference}" for name, reference in builtin.MODELS.items() if name != "realnvp"]
    places += [f"trilemma.plugins{reference}" for reference in builtin.METRICS.values()]
    assert not {place.partition(":")[0] for place in places} & loaded


@pytest.mark.parametrize("kind", ["models", "datasets", "metrics"])
def test_a_list_is_read_from_the_source_and_imports_no_plugin(kind: str) -> None:
    code = LOADED.replace("print(", 'print("---", ')
    run = subprocess.run([sys.executable, "-c", code, "list", kind], capture_output=True, text=True, check=True)
    table, _, modules = run.stdout.rpartition("---")
    loaded = set(modules.split())
    registered = Registry(builtin_only=True).classes(kind)
    assert all(name in table for name in registered)
    assert not {cls.__module__ for cls in registered.values()} & loaded
    assert "torch" not in loaded
