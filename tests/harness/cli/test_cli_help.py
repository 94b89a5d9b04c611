"""Help, suggestions, completion and colors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import Result

from trilemma.harness.cli import main

Command = Callable[..., Result]


def test_help_answers_without_importing_torch() -> None:
    code = "import sys; from trilemma.harness.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'numpy', 'pandas', 'rich', 'pydantic'} & set(sys.modules); print('HEAVY', sorted(heavy))"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in text
    assert "trilemma run" in text


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_has_help_with_examples(name: str, command: Command) -> None:
    result = command(name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"trilemma {name}" in result.output


def test_a_misspelt_command_has_a_suggestion(command: Command) -> None:
    result = command("rum")
    assert result.exit_code == 2
    assert "did you mean 'run'" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, command: Command) -> None:
    assert "_TRILEMMA_COMPLETE" in command("completion", shell).stdout


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
