"""The examples are complete plugins: the package builds, installs and runs beside the built-in ones; the file runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = """
name = "tiny"
budget = { steps = 30 }
datasets = [{ name = "ring8", config = { n_train = 500, n_valid = 100, n_test = 200 } }]
models = [{ name = "gaussian" }]
metrics = { nll = { n = 100 }, wasserstein = { n = 100, draws = 2 } }
"""


def python(*arguments: object, where: Path, path: Path | None = None) -> str:
    """Standard output of a Python process in a folder, with `path` on its import path; it must succeed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example package, away from this repository, with a tiny suite beside it."""
    folder = tmp_path_factory.mktemp("package") / "trilemma-gauss"
    shutil.copytree(EXAMPLES / "trilemma-gauss", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def installed(package: Path) -> Path:
    """A folder with the package installed, by its build backend alone: needs neither pip nor a network."""
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    wheels, target = package / "wheels", package / "site"
    wheels.mkdir()
    python("-c", build, wheels, where=package)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    return target


def rows(text: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in json.loads(text) if all(row[key] == value for key, value in wanted.items())]


def test_the_package_is_listed_with_its_distribution(package: Path, installed: Path) -> None:
    (gauss,) = rows(python("-m", "trilemma", "list", "models", "--json", where=package, path=installed), name="gauss")
    assert gauss["plugin"] == "trilemma-gauss"
    assert gauss["likelihood"] == "exact"
    assert gauss["description"] == "A single full-covariance Gaussian fitted by maximum likelihood."
    assert not rows(python("-m", "trilemma", "list", "models", "--json", where=package), name="gauss")


def test_the_package_runs_and_agrees_with_the_built_in_gaussian(package: Path, installed: Path) -> None:
    command = ("run", "tiny.toml", "--models", "gauss,gaussian", "--out", "run", "--json")
    done = json.loads(python("-m", "trilemma", *command, where=package, path=installed))
    assert done["outcomes"] == {"ok": 2}
    values = {row["model"]: row["value"] for row in done["results"] if row["metric"] == "nll"}
    assert values["gauss"] == pytest.approx(values["gaussian"], abs=1e-4)


def test_the_packages_own_test_passes(package: Path, installed: Path) -> None:
    assert "1 passed" in python("-m", "pytest", "-p", "no:cacheprovider", "tests", where=package, path=installed)


def test_the_single_file_runs_at_every_sampler_setting(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        TINY.replace('{ name = "gaussian" }', '{ name = "my-model", samplers = [{ name = "euler", steps = [1, 4] }] }')
    )
    command = ("run", "tiny.toml", "--plugin", EXAMPLES / "my_model.py", "--out", "run", "--json")
    done = json.loads(python("-m", "trilemma", *command, where=tmp_path))
    assert set(done["outcomes"]) <= {"ok", "unsupported"}
    nfe = {row["sampler"]: row["nfe"] for row in done["results"] if row["metric"] == "w2"}
    assert nfe == {"euler(steps=1)": 1.0, "euler(steps=4)": 4.0}
    assert [row["outcome"] for row in done["results"] if row["sampler"] is None] == ["unsupported"]
