"""The table `plugins` of a suite: paths are relative to the suite, and mistakes have their lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from trilemma import SuiteError
from trilemma.harness import api

SUITE = """
name = "own"
budget = {{ steps = 1 }}
datasets = [{{ name = "ring8" }}]
models = [{{ name = "well" }}]

[plugins]
{plugins}
"""


def test_paths_are_relative_to_the_suite(
    tmp_path: Path, bad_plugins: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()
    (tmp_path / "models.py").write_text(bad_plugins.read_text())
    (folder / "own.toml").write_text(SUITE.format(plugins='bad = "../models.py"'))
    monkeypatch.chdir("/")
    found = command("run", folder / "own.toml", "--dry-run", "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "own.toml loads plugins: bad" in found.stderr
    assert "well on ring8, seed 0" in found.stdout


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ('bad = "models.py"', r"own.toml:8: plugins.bad: the plugin file \S*models.py does not exist"),
        ('bad = "no_such.module"', r"own.toml:8: plugins.bad: there is no module 'no_such.module'"),
        ("bad = 3", r"own.toml:8: plugins.bad"),
    ],
)
def test_a_plugin_that_is_not_there_is_reported_with_its_line(plugins: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(SUITE.format(plugins=plugins))
    with pytest.raises(SuiteError, match=said):
        api.make_runner(tmp_path / "own.toml", out=tmp_path / "out")
