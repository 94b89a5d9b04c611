"""The packages of the cookbook: each is complete, is on the page, and passes its own tests where its library is."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LIBRARIES = {
    "copulas": "copulas",
    "diffusers": "diffusers",
    "lightning": "pytorch_lightning",
    "sklearn": "sklearn",
    "zuko": "zuko",
}
"""The packages of the cookbook, with the module that each wraps."""


def hooks_of(package: str) -> dict[str, str]:
    """The models that the hook of a package registers, read from its source."""
    source = (EXAMPLES / f"trilemma-{package}" / "src" / f"trilemma_{package}" / "__init__.py").read_text()
    (returned,) = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Return)]
    assert returned.value is not None
    return dict(ast.literal_eval(returned.value))


@pytest.mark.parametrize("package", LIBRARIES)
def test_a_package_is_complete(package: str) -> None:
    folder = EXAMPLES / f"trilemma-{package}"
    about = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert about["entry-points"]["trilemma"] == {package: f"trilemma_{package}"}
    ((name, reference),) = hooks_of(package).items()
    module, _, cls = reference.removeprefix(".").partition(":")
    source = (folder / "src" / f"trilemma_{package}" / f"{module}.py").read_text()
    (made,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == cls]
    assert f'name = "{name}"' in ast.get_source_segment(source, made).__str__()
    assert re.search(rf"^(from|import) {LIBRARIES[package]}\b", source, re.M)
    assert f"--models {name}," in (folder / "README.md").read_text()
    wrapped = [line for line in about["dependencies"] if line not in ("trilemma", "torch")]
    assert len(wrapped) == 1


def test_the_page_shows_every_package() -> None:
    page = ROOT / "docs" / "cookbook.md"
    if not page.exists():
        pytest.skip("needs the source tree")
    shown = re.findall(r"^examples/trilemma-(\w+)/src/\S+/model.py$", page.read_text(), re.M)
    assert sorted(shown) == sorted(LIBRARIES)


@pytest.mark.slow
@pytest.mark.parametrize("package", LIBRARIES)
def test_the_tests_of_a_package_pass(package: str, tmp_path: Path) -> None:
    if find_spec(LIBRARIES[package]) is None:
        pytest.skip(f"the library {LIBRARIES[package]} is not installed")
    folder = EXAMPLES / f"trilemma-{package}"
    site = tmp_path / f"trilemma_{package}-0.1.0.dist-info"
    site.mkdir()
    (site / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trilemma-{package}\nVersion: 0.1.0\n")
    (site / "entry_points.txt").write_text(f"[trilemma]\n{package} = trilemma_{package}\n")
    path = os.pathsep.join([str(tmp_path), str(folder / "src"), *(path for path in sys.path if path)])
    env = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["-q", "-p", "trilemma.harness.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=folder, env=env, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
