"""`trilemma new`: the packages that it writes work as they are, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

KINDS = ("model", "dataset", "metric", "section")


def install(folder: Path) -> Path:
    """Put a written package on a path as pip would install it, with its entry point. Returns that path."""
    about = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    site = folder / "src"
    record = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    record.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (record / "METADATA").write_text(metadata)
    ((name, module),) = about["entry-points"]["trilemma"].items()
    (record / "entry_points.txt").write_text(f"[trilemma]\n{name} = {module}\n")
    return site


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_complete(kind: str, tmp_path: Path, command: Callable[..., Result]) -> None:
    done = command("new", kind, "my-own", "--into", tmp_path)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "trilemma-my-own"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    package = "src/trilemma_my_own"
    assert files == {
        *("pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/test.yml"),
        *(f"{package}/__init__.py", f"{package}/{kind}.py", f"{package}/py.typed", f"tests/test_{kind}.py"),
    }
    assert {str(folder / file) for file in files} == set(done.stdout.split())
    for file in folder.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")
        assert max(map(len, file.read_text().splitlines())) <= 120
    assert "{{" not in "".join((folder / file).read_text() for file in files if not file.endswith(".yml"))
    assert "${{ matrix.python }}" in (folder / ".github/workflows/test.yml").read_text()


@pytest.mark.slow
def test_a_new_model_is_in_the_table(
    tmp_path: Path, tiny_file: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, own_zygote: None
) -> None:
    command("new", "model", "tensor", "--into", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(install(tmp_path / "trilemma-tensor"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    done = command("run", tiny_file, "--models", "tensor", "--out", tmp_path / "run", "-j", "1")
    assert done.exit_code == 0, done.output
    assert "tensor" in done.stdout


def test_nothing_is_overwritten(tmp_path: Path, command: Callable[..., Result]) -> None:
    (tmp_path / "trilemma-mine").mkdir()
    done = command("new", "model", "mine", "--into", tmp_path)
    assert done.exit_code == 2
    assert "exists, and nothing is overwritten" in done.stderr
    assert list((tmp_path / "trilemma-mine").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("model", "My Flow!", "such as my-flow"),
        ("model", "../up", "such as up"),
        ("model", "3d", "such as d"),
        ("model", "a--b", "such as a-b"),
        ("model", "x" * 60, "at most 40"),
        ("model", "\x1b[31m", "is no name for a plugin"),
        ("model", "trilemma-mine", "leave out 'trilemma-'"),
        ("model", "realnvp", "there is a model 'realnvp' already, from trilemma"),
        ("dataset", "ring8", "there is a dataset 'ring8' already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    kind: str, name: str, said: str, tmp_path: Path, command: Callable[..., Result]
) -> None:
    done = command("new", kind, name, "--into", tmp_path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "\x1b" not in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_package_pass(kind: str, tmp_path: Path, command: Callable[..., Result]) -> None:
    command("new", kind, "my-own", "--into", tmp_path)
    folder = tmp_path / "trilemma-my-own"
    path = os.pathsep.join([str(install(folder)), *(path for path in sys.path if path)])
    env = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["-q", "-p", "trilemma.harness.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=folder, env=env, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    typed = subprocess.run([sys.executable, "-m", "mypy"], cwd=folder, env=env, capture_output=True, text=True)
    assert typed.returncode == 0, typed.stdout
