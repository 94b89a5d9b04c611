"""The archives: sdist, wheel from the sdist, and an editable install, each built and imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"harness", "plugins", "datasets", "reports"}

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")


def build(source: Path, kind: str, out: Path) -> Path:
    """Build with the project's own back end, in this environment."""
    out.mkdir(exist_ok=True)
    code = f"from hatchling.build import build_{kind} as b; print(b({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    return out / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree."""
    tree = tmp_path_factory.mktemp("tree") / "trilemma"
    ignored = shutil.ignore_patterns(
        ".git", ".tox", ".venv", "runs", "dist", "site", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored)
    return tree


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return build(tree, "sdist", tree.parent / "dist")


def sources(base: Path) -> set[str]:
    """Python files and data files of the rooms, relative."""
    return {
        path.relative_to(base).as_posix()
        for room in ROOMS
        for path in (base / room).rglob("*")
        if path.is_file() and path.suffix in {".py", ".toml", ".j2", ".html", ".css", ".js"}
        and "__pycache__" not in path.parts
    }  # fmt: skip


def imports_all(path: Path) -> str:
    """Import every room from an unpacked wheel, away from the source tree."""
    code = (
        "import trilemma, trilemma.plugins.builtin, trilemma.datasets.builtin, trilemma.reports.builtin;"
        "from trilemma.harness.planning.suite import builtin_suites;"
        "print(trilemma.__file__, sorted(builtin_suites()), len(trilemma.plugins.builtin.trilemma_models()))"
    )
    env = {**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=env, capture_output=True, text=True, check=True
    ).stdout


def test_a_wheel_from_the_sdist_holds_every_room_and_works(tree: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "src", filter="data")
    (unpacked,) = (tmp_path / "src").iterdir()
    assert sources(unpacked) == sources(tree)
    assert {"README.md", "LICENSE", "CHANGELOG.md", "tox.ini"} <= {file.name for file in unpacked.iterdir()}
    wheel = build(unpacked, "wheel", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {f"trilemma/{name}" for name in sources(tree)} <= names
    assert {"trilemma/__init__.py", "trilemma/__main__.py", "trilemma/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "harness/"))]
    assert str(tmp_path / "site") in imports_all(tmp_path / "site")


def test_an_editable_install_sees_the_rooms(tree: Path, tmp_path: Path) -> None:
    wheel = build(tree, "editable", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        paths = [archive.read(name).decode().strip() for name in archive.namelist() if name.endswith(".pth")]
    assert paths == [str(tree / "src")]
    assert str(tree / "src" / "trilemma") in imports_all(Path(paths[0]))


def test_every_lower_bound_is_in_the_lowest_environment() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [line for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins == [dependency.replace(">=", "==") for dependency in project["dependencies"]]


def test_no_folder_shadows_an_installed_datasets_package() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists()
